#!/bin/bash
#
# healthcheck PORT PATH [proxied]: succeeds when this container answers the path with 200; proxied:
# behind a header of the PROXY protocol. The images carry no curl; bash can open the connection
# itself.
#
exec 3<>"/dev/tcp/127.0.0.1/$1" || exit 1
[ "${3:-}" != proxied ] || printf 'PROXY UNKNOWN\r\n' >&3
printf 'GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' "$2" >&3
read -r -t 3 _ status _ <&3
[ "$status" = 200 ]
