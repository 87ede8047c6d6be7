#include "gateway/protocols/callie_timestamp.h"

#include <errno.h>
#include <stdbool.h>

#define DAY_MS 86400000ll
/* 9999-12-31T23:59:59.999Z */
#define LAST_MS 253402300799999ull

struct moment {
    int year, month, day, hour, minute, second, millisecond;
};

/* A digit stands for one, ':' before the seconds for itself or the source's '.'. */
static bool has_form(struct slice text)
{
    static const char form[] = "0000-00-00T00:00:00.000Z";

    if (text.length != sizeof(form) - 1)
        return false;
    for (size_t i = 0; i < text.length; i++) {
        if (form[i] == '0' && text.data[i] >= '0' && text.data[i] <= '9')
            continue;
        if (form[i] != '0' && text.data[i] == form[i])
            continue;
        if (i != 16 || text.data[i] != '.')
            return false;
    }
    return true;
}

static int digits(const char *text, int count)
{
    int value = 0;

    for (int i = 0; i < count; i++)
        value = value * 10 + (text[i] - '0');
    return value;
}

static int days_of_month(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

    return days[month - 1] + (month == 2 && leap);
}

static bool exists(const struct moment *moment)
{
    return moment->month >= 1 && moment->month <= 12 && moment->day >= 1 &&
           moment->day <= days_of_month(moment->year, moment->month) && moment->hour <= 23 &&
           moment->minute <= 59 && moment->second <= 59;
}

/* Days from 1970-01-01; years are counted from March, so that a leap day is the last of its year.
 */
static int64_t days_from_1970(const struct moment *moment)
{
    int64_t year = moment->year - (moment->month <= 2) + 400; /* never negative: by 400 years */
    int64_t month = (moment->month + 9) % 12;
    int64_t day_of_year = (153 * month + 2) / 5 + moment->day - 1;

    return year * 365 + year / 4 - year / 100 + year / 400 + day_of_year - 719468 - 146097;
}

int callie_timestamp_read(struct slice text, int64_t *unix_ms)
{
    struct moment moment;

    if (!has_form(text))
        return -EINVAL;
    moment = (struct moment){.year = digits(text.data, 4),
                             .month = digits(text.data + 5, 2),
                             .day = digits(text.data + 8, 2),
                             .hour = digits(text.data + 11, 2),
                             .minute = digits(text.data + 14, 2),
                             .second = digits(text.data + 17, 2),
                             .millisecond = digits(text.data + 20, 3)};
    if (!exists(&moment))
        return -EINVAL;
    *unix_ms = days_from_1970(&moment) * DAY_MS + moment.hour * 3600000ll +
               moment.minute * 60000ll + moment.second * 1000ll + moment.millisecond;
    return 0;
}

/* The day of so many days after 1970-01-01, none of them before it. */
static struct moment day_after_1970(uint64_t days)
{
    struct moment moment = {.year = 1970, .month = 1};

    /* By 400 years, which all have as many days, then by years and months. */
    moment.year += (int)(days / 146097) * 400;
    days %= 146097;
    for (;;) {
        uint64_t length = 337 + (uint64_t)days_of_month(moment.year, 2);

        if (days < length)
            break;
        days -= length;
        moment.year++;
    }
    while (days >= (uint64_t)days_of_month(moment.year, moment.month))
        days -= (uint64_t)days_of_month(moment.year, moment.month++);
    moment.day = (int)days + 1;
    return moment;
}

void callie_timestamp_append(struct buffer *out, uint64_t unix_ms)
{
    uint64_t ms = unix_ms < LAST_MS ? unix_ms : LAST_MS;
    struct moment moment = day_after_1970(ms / DAY_MS);
    unsigned rest = (unsigned)(ms % DAY_MS);

    buffer_appendf(out, "%04d-%02d-%02dT%02u:%02u:%02u.%03uZ", moment.year, moment.month,
                   moment.day, rest / 3600000, rest / 60000 % 60, rest / 1000 % 60, rest % 1000);
}
