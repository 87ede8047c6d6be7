/*
 * The address of a client, as limits and logs know it: a text without a port.
 */
#ifndef COMMON_CLIENT_ADDRESS_H
#define COMMON_CLIENT_ADDRESS_H

#include "common/slice.h"

#include <sys/socket.h>

#define CLIENT_ADDRESS_SIZE 64

/* Writes the numeric address; empty when it is neither IPv4 nor IPv6. */
void client_address_format(char text[CLIENT_ADDRESS_SIZE], const struct sockaddr *);
/*
 * Who asks: the peer of the connection or, when that is on this machine or a private network (where
 * a proxy of the deployment would be), what it says in X-Forwarded-For: the last of its list, which
 * is the proxy's own word. forwarded may be empty.
 */
void client_address_choose(char text[CLIENT_ADDRESS_SIZE], const char *peer,
                           struct slice forwarded);

#endif
