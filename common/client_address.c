#include "common/client_address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>

static bool is_private_v4(uint32_t address)
{
    return address >> 24 == 127 || address >> 24 == 10 || address >> 20 == 0xac1 ||
           address >> 16 == 0xc0a8;
}

/* Of this machine or a private network: where a proxy of the deployment would be. */
static bool is_private(const char *address)
{
    struct in6_addr v6;
    struct in_addr v4;
    uint32_t mapped;

    if (inet_pton(AF_INET, address, &v4) == 1)
        return is_private_v4(ntohl(v4.s_addr));
    if (inet_pton(AF_INET6, address, &v6) != 1)
        return false;
    memcpy(&mapped, v6.s6_addr + 12, sizeof(mapped));
    if (IN6_IS_ADDR_V4MAPPED(&v6))
        return is_private_v4(ntohl(mapped));
    return IN6_IS_ADDR_LOOPBACK(&v6) || (v6.s6_addr[0] & 0xfe) == 0xfc;
}

void client_address_format(char text[CLIENT_ADDRESS_SIZE], const struct sockaddr *address)
{
    const void *number = NULL;

    if (address->sa_family == AF_INET)
        number = &((const struct sockaddr_in *)(const void *)address)->sin_addr;
    else if (address->sa_family == AF_INET6)
        number = &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr;
    if (number == NULL || inet_ntop(address->sa_family, number, text, CLIENT_ADDRESS_SIZE) == NULL)
        text[0] = '\0';
}

void client_address_choose(char text[CLIENT_ADDRESS_SIZE], const char *peer, struct slice forwarded)
{
    const char *comma =
        forwarded.length > 0 ? memrchr(forwarded.data, ',', forwarded.length) : NULL;
    size_t skip = comma ? (size_t)(comma + 1 - forwarded.data) : 0;

    while (skip < forwarded.length && forwarded.data[skip] == ' ')
        skip++;
    if (skip == forwarded.length || !is_private(peer))
        snprintf(text, CLIENT_ADDRESS_SIZE, "%s", peer);
    else
        snprintf(text, CLIENT_ADDRESS_SIZE, "%.*s", (int)(forwarded.length - skip),
                 forwarded.data + skip);
}
