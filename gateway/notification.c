#include "gateway/notification.h"

struct check {
    const char *member;
    bool required;
    bool (*is_right)(const struct json_value *);
    const char *why;
};

static bool is_text(const struct json_value *value)
{
    return json_type(value) == JSON_STRING;
}

static bool is_level(const struct json_value *value)
{
    static const char *const levels[] = {"info", "success", "warning", "error"};

    for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++)
        if (is_text(value) && slice_is(json_text(value), levels[i]))
            return true;
    return false;
}

static bool is_action(const struct json_value *value)
{
    return is_text(json_member(value, "label")) && is_text(json_member(value, "url"));
}

static bool is_actions(const struct json_value *value)
{
    const struct json_value *action = json_first(value);

    if (json_type(value) != JSON_ARRAY)
        return false;
    for (size_t left = json_count(value); left > 0; left--, action = json_next(action))
        if (!is_action(action))
            return false;
    return true;
}

static const struct check checks[] = {
    {"level", false, is_level, "level must be info, success, warning or error"},
    {"title", false, is_text, "title must be a string"},
    {"message", true, is_text, "message must be a string"},
    {"actions", false, is_actions, "actions must be a list of objects with label and url"},
};

static bool is_skipped(struct slice name, const char *const *skip)
{
    for (; *skip; skip++)
        if (slice_is(name, *skip))
            return true;
    return false;
}

static void append_body(struct buffer *out, const struct json *json,
                        const struct json_value *object, const char *const *skip)
{
    bool has_level = json_member(object, "level") != NULL;
    struct json_pair pair;

    buffer_append_text(out, has_level ? "{" : "{\"level\":\"info\"");
    for (pair = json_first_pair(json, object); pair.value; pair = json_next_pair(json, &pair)) {
        if (is_skipped(pair.name, skip))
            continue;
        if (out->data[out->length - 1] != '{')
            buffer_append_byte(out, ',');
        buffer_append_json_string(out, pair.name);
        buffer_append_byte(out, ':');
        buffer_append_slice(out, pair.raw);
    }
    buffer_append_byte(out, '}');
}

const char *notification_read(struct buffer *out, const struct json *json,
                              const struct json_value *object, const char *const *skip,
                              const char **why)
{
    for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++) {
        const struct json_value *value = json_member(object, checks[i].member);

        if (value == NULL ? !checks[i].required : checks[i].is_right(value))
            continue;
        *why = checks[i].why;
        return checks[i].member;
    }
    append_body(out, json, object, skip);
    return NULL;
}
