/*
 * Which messages of topics go before others that wait for a connection: those whose metadata says
 * "priority": "high". Pure.
 */
#ifndef GATEWAY_TOPIC_PRIORITY_H
#define GATEWAY_TOPIC_PRIORITY_H

#include "common/frame.h"

#include <stdbool.h>

/*
 * The metadata is an object of its own or, where a mark stands in its place, a member of the body
 * (realtime's own types). Messages of topics with history are never urgent: who comes back goes on
 * behind the last offset he has seen.
 */
bool topic_message_is_urgent(const struct frame_topic_message *);

#endif
