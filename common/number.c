#include "common/number.h"

#include "common/digits.h"

#include <errno.h>

int number_format(struct number number, char text[NUMBER_TEXT_SIZE])
{
    size_t length = digits_write(number.epoch, text);

    text[length++] = '-';
    length += digits_write(number.sequence, text + length);
    text[length] = '\0';
    return (int)length;
}

static int parse_digits(struct slice text, size_t *at, uint64_t *value)
{
    uint64_t result = 0;
    size_t start = *at;

    for (; *at < text.length && text.data[*at] >= '0' && text.data[*at] <= '9'; ++*at) {
        uint64_t digit = (uint64_t)(text.data[*at] - '0');

        if (result > (UINT64_MAX - digit) / 10)
            return -EINVAL;
        result = result * 10 + digit;
    }
    if (*at == start)
        return -EINVAL;
    *value = result;
    return 0;
}

int number_parse(struct slice text, struct number *number)
{
    struct number result = {0};
    size_t at = 0;

    if (parse_digits(text, &at, &result.epoch) < 0)
        return -EINVAL;
    if (at < text.length) {
        if (text.data[at++] != '-' || parse_digits(text, &at, &result.sequence) < 0)
            return -EINVAL;
        if (at != text.length)
            return -EINVAL;
    }
    *number = result;
    return 0;
}
