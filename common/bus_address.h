/*
 * Where Redis is: what TRUNKLINE_REDIS says. Pure.
 */
#ifndef COMMON_BUS_ADDRESS_H
#define COMMON_BUS_ADDRESS_H

struct bus_address {
    char host[256];
    int port;
    char user[128];
    char password[256];
};

/* redis://[user:password@]host[:port][/0]. Returns 0 or -EINVAL. */
int bus_address_parse(const char *url, struct bus_address *) __attribute__((warn_unused_result));

#endif
