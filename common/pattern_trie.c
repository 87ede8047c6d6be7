#include "common/pattern_trie.h"

#include "common/table.h"
#include "common/topic.h"
#include "common/xalloc.h"

#include <stdint.h>
#include <stdlib.h>

struct node {
    struct node *parent;
    struct node *children; /* hash by segment; '*' is one of them */
    void *end;             /* the value of the pattern that ends here */
    void *rest;            /* of the one that goes on with "**" */
    UT_hash_handle hh;     /* in the parent's children */
    uint32_t length;
    char segment[];
};

struct pattern_trie {
    struct node *root;
};

struct match {
    void (*visit)(void *value, void *arg);
    void *arg;
};

static struct node *node_create(struct node *parent, struct slice segment)
{
    struct node *node = xcalloc(1, sizeof(*node) + segment.length);

    node->parent = parent;
    node->length = (uint32_t)segment.length;
    if (parent == NULL)
        return node;
    memcpy(node->segment, segment.data, segment.length);
    HASH_ADD_KEYPTR(hh, parent->children, node->segment, node->length, node);
    return node;
}

static struct node *node_child(const struct node *node, struct slice segment)
{
    struct node *child;

    HASH_FIND(hh, node->children, segment.data, segment.length, child);
    return child;
}

static void node_destroy(struct node *node)
{
    struct node *child, *next;

    HASH_ITER(hh, node->children, child, next)
    {
        HASH_DEL(node->children, child);
        node_destroy(child);
    }
    free(node);
}

struct pattern_trie *pattern_trie_create(void)
{
    struct pattern_trie *trie = xcalloc(1, sizeof(*trie));

    trie->root = node_create(NULL, slice_of(NULL, 0));
    return trie;
}

void pattern_trie_destroy(struct pattern_trie **trie)
{
    if (*trie == NULL)
        return;
    node_destroy((*trie)->root);
    free(*trie);
    *trie = NULL;
}

void pattern_trie_add(struct pattern_trie *trie, struct slice pattern, void *value)
{
    struct node *node = trie->root;

    while (pattern.data != NULL) {
        struct slice segment = topic_cut_segment(&pattern);
        struct node *child;

        if (slice_is(segment, "**")) {
            node->rest = value;
            return;
        }
        child = node_child(node, segment);
        node = child ? child : node_create(node, segment);
    }
    node->end = value;
}

/* Frees a node that leads nowhere, and those above that then lead nowhere. */
static void prune(struct node *node)
{
    while (node->parent && node->children == NULL && node->end == NULL && node->rest == NULL) {
        struct node *parent = node->parent;

        HASH_DEL(parent->children, node);
        free(node);
        node = parent;
    }
}

void pattern_trie_remove(struct pattern_trie *trie, struct slice pattern)
{
    struct node *node = trie->root;
    bool rest = false;

    while (pattern.data != NULL && !rest) {
        struct slice segment = topic_cut_segment(&pattern);

        rest = slice_is(segment, "**");
        if (!rest)
            node = node_child(node, segment);
        if (node == NULL)
            return;
    }
    if (rest)
        node->rest = NULL;
    else
        node->end = NULL;
    prune(node);
}

/* Depth is that of the patterns, which have few segments. */
static void match_below(const struct node *node, struct slice rest, const struct match *match)
{
    struct slice segment;
    struct node *child;
    bool hidden; /* wildcards do not stand for a first segment with '$' */

    if (rest.data == NULL) {
        if (node->end)
            match->visit(node->end, match->arg);
        return;
    }
    segment = topic_cut_segment(&rest);
    hidden = node->parent == NULL && segment.length > 0 && segment.data[0] == '$';
    if (node->rest && !hidden)
        match->visit(node->rest, match->arg);
    child = node_child(node, segment);
    if (child)
        match_below(child, rest, match);
    child = hidden ? NULL : node_child(node, slice_text("*"));
    if (child)
        match_below(child, rest, match);
}

void pattern_trie_match(const struct pattern_trie *trie, struct slice topic,
                        void (*visit)(void *value, void *arg), void *arg)
{
    const struct match match = {.visit = visit, .arg = arg};

    if (topic.length > 0)
        match_below(trie->root, topic, &match);
}
