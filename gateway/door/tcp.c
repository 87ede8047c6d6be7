#include "gateway/door/tcp.h"

#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

/* The kernel's names for them are not for programs. */
enum {
    TCP_STATE_FIN_WAIT1 = 4,
    TCP_STATE_FIN_WAIT2 = 5,
    TCP_STATE_LAST_ACK = 9,
    TCP_STATE_CLOSING = 11
};

uint64_t tcp_unacknowledged(int descriptor)
{
    int bytes;

    if (ioctl(descriptor, SIOCOUTQ, &bytes) < 0 || bytes < 0)
        return UINT64_MAX;
    return (uint64_t)bytes;
}

struct tcp_state tcp_look(int descriptor)
{
    struct tcp_info info = {0};
    socklen_t length = sizeof(info);

    if (getsockopt(descriptor, IPPROTO_TCP, TCP_INFO, &info, &length) < 0)
        return (struct tcp_state){0};
    return (struct tcp_state){
        .acknowledged = info.tcpi_bytes_acked,
        .silence_ms = info.tcpi_last_data_recv,
        .ended = info.tcpi_state == TCP_STATE_FIN_WAIT1 || info.tcpi_state == TCP_STATE_FIN_WAIT2 ||
                 info.tcpi_state == TCP_STATE_LAST_ACK || info.tcpi_state == TCP_STATE_CLOSING,
    };
}
