/* For BPF programs, which have no libc: the families that have one number on every architecture, and the address that the
   kernel's headers (linux/if.h, linux/icmp.h) take from here. */
#pragma once
#include <linux/socket.h>
#ifndef AF_INET
#define AF_UNSPEC 0
#define AF_UNIX 1
#define AF_INET 2
#define AF_INET6 10
#define AF_NETLINK 16
#define AF_PACKET 17
#define AF_VSOCK 40
#endif
typedef __kernel_sa_family_t sa_family_t;
struct sockaddr {
    sa_family_t sa_family;
    char sa_data[14];
};
