#include "common/topic.h"
#include "common/xalloc.h"
#include "router/history_rules.h"

#include <stdlib.h>

/* More of one topic would make Redis hold up everybody while it trims or answers. */
#define SIZE_MOST 100000

struct history_rule {
    struct slice pattern;
    uint64_t size;
};

struct history_rules {
    char *text;
    struct history_rule *rules;
    size_t count;
};

static bool read_rule(char *text, struct history_rule *rule)
{
    char *colon = strrchr(text, ':'), *end;

    if (colon == NULL || colon[1] < '0' || colon[1] > '9')
        return false;
    rule->size = strtoull(colon + 1, &end, 10);
    rule->pattern = slice_of(text, (size_t)(colon - text));
    return *end == '\0' && rule->size > 0 && rule->size <= SIZE_MOST &&
           topic_pattern_valid(rule->pattern);
}

struct history_rules *history_rules_create(const char *text)
{
    struct history_rules *rules = xcalloc(1, sizeof(*rules));
    char *place = NULL;

    rules->text = xstrdup(text);
    for (char *at = strtok_r(rules->text, ",", &place); at; at = strtok_r(NULL, ",", &place)) {
        rules->rules = xrealloc(rules->rules, (rules->count + 1) * sizeof(*rules->rules));
        if (!read_rule(at, &rules->rules[rules->count++])) {
            history_rules_destroy(&rules);
            return NULL;
        }
    }
    return rules;
}

void history_rules_destroy(struct history_rules **rules)
{
    if (*rules == NULL)
        return;
    free((*rules)->rules);
    free((*rules)->text);
    free(*rules);
    *rules = NULL;
}

uint64_t history_rules_size(const struct history_rules *rules, struct slice topic)
{
    for (size_t i = 0; rules && i < rules->count; i++)
        if (topic_matches(rules->rules[i].pattern, topic))
            return rules->rules[i].size;
    return 0;
}
