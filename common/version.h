/* The version of this source tree. */
#ifndef COMMON_VERSION_H
#define COMMON_VERSION_H

#define TRUNKLINE_VERSION "0.1.0"

#endif
