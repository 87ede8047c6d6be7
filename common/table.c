#include "common/table.h"

#include "common/siphash.h"
#include "common/uid.h"

static uint8_t table_key[16];

/* Before main: no table is older than its key. */
__attribute__((constructor)) static void draw_key(void)
{
    const uint64_t halves[] = {uid_random64(), uid_random64()};

    memcpy(table_key, halves, sizeof(table_key));
}

unsigned table_hash(const void *key, size_t length)
{
    uint64_t hash = siphash(table_key, slice_of(key, length), 1, 3);

    return (unsigned)(hash ^ hash >> 32);
}
