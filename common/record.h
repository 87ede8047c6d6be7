/*
 * Records: what messages or events say, in named fields, as one text that a person can read too.
 *
 *     at 13:1700000000000 from 5:alice id 2:m1 body 16:{"message":"hi"}\n
 *     id 2:m2 body 17:{"message":"you"}\n
 *
 * Each value has its length in bytes before it, so it may hold anything. A field that a record
 * leaves out is as in the record before, in the first one empty. One text is one value of a
 * stream's entry, however many records it has: Redis pays for values, not for bytes.
 */
#ifndef COMMON_RECORD_H
#define COMMON_RECORD_H

#include "common/buffer.h"

/* Fields that one text has names for. */
#define RECORD_FIELDS_MAX 16
/* Letters of a name. */
#define RECORD_NAME_MAX 12

/* A text, or a number in its digits: 0 is empty. */
struct record_field {
    const char *name; /* lower case letters */
    struct slice text;
    uint64_t number;
};

/* Zeroed memory is an empty text. */
struct record_writer {
    struct buffer text;
    struct record_said {
        size_t at, length; /* in text: what the last record said, or had from before it */
        uint64_t number;   /* if it was one */
    } said[RECORD_FIELDS_MAX];
};

/* Appends a record. Every record of a text has the same fields in the same order. */
void record_write(struct record_writer *, const struct record_field *fields, size_t count);
void record_writer_finish(struct record_writer *);

/* The fields of the record that was read last: slices of the text. */
struct record_reader {
    struct slice rest;
    struct record_value {
        struct slice name, value;
    } fields[RECORD_FIELDS_MAX];
    size_t count;
};

void record_reader_start(struct record_reader *, struct slice text);
/* 1 for a record, 0 at the end, -EBADMSG where the text is no record. */
int record_next(struct record_reader *) __attribute__((warn_unused_result));
/* Empty if no record has said it. */
struct slice record_text(const struct record_reader *, const char *name);
/* 0 if it is no number. */
uint64_t record_number(const struct record_reader *, const char *name);

#endif
