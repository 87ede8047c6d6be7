/*
 * Reading JSON that clients send: the only file that sees yyjson. Numbers keep their digits, values
 * can be passed on byte for byte as they came, and no text is dangerous: nesting is limited, an
 * object that has a key twice is refused, nothing recurses.
 */
#ifndef COMMON_JSON_H
#define COMMON_JSON_H

#include "common/slice.h"

#include <stdint.h>

/* Arrays and objects inside each other. */
#define JSON_DEPTH_MAX 128

struct json;       /* a reader: keeps its memory from one text to the next */
struct json_value; /* part of the text that was read last */

enum json_type {
    JSON_NONE, /* of NULL */
    JSON_NULL,
    JSON_BOOL,
    JSON_NUMBER,
    JSON_STRING,
    JSON_ARRAY,
    JSON_OBJECT,
};

struct json *json_create(void);
void json_destroy(struct json **); /* NULL-safe; clears the pointer */

/*
 * Reads one text, which must stay as it is while its values are used; those of the text before are
 * gone. Returns 0, -EBADMSG (not JSON, or not UTF-8), -EOVERFLOW (deeper than JSON_DEPTH_MAX) or
 * -EEXIST (a key twice in one object).
 */
int json_read(struct json *, struct slice text) __attribute__((warn_unused_result));
/* NULL unless the last text was read. */
const struct json_value *json_root(const struct json *);

/* ---- values; each is safe on NULL ---- */
enum json_type json_type(const struct json_value *);
/* Of an object; NULL if it is absent or value is no object. */
const struct json_value *json_member(const struct json_value *, const char *name);
/* The member's value as it stands in the text, byte for byte; empty if it is absent. */
struct slice json_member_raw(const struct json *, const struct json_value *, const char *name);
/* A string's text, or a number's digits as sent; otherwise empty with data NULL. */
struct slice json_text(const struct json_value *);
bool json_is_true(const struct json_value *);
/* Of an array or object; otherwise 0. */
size_t json_count(const struct json_value *);
/* The first element of an array, and the one after an element; for json_count of them. */
const struct json_value *json_first(const struct json_value *array);
const struct json_value *json_next(const struct json_value *element);
/* A member of an object; value is NULL behind the last one. */
struct json_pair {
    struct slice name;
    const struct json_value *value;
    struct slice raw; /* the value as it stands in the text */
    size_t left;      /* members behind it */
};
struct json_pair json_first_pair(const struct json *, const struct json_value *object);
struct json_pair json_next_pair(const struct json *, const struct json_pair *);
/* What stands between the brackets of an array's text, and the next element cut off that, byte for
 * byte. False when there is none. */
struct slice json_elements(struct slice array);
bool json_cut_element(struct slice *rest, struct slice *element);
/* A number as a double. Returns 0, or -EINVAL when it is none or out of range. */
int json_double(const struct json_value *, double *number) __attribute__((warn_unused_result));

#endif
