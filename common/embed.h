/*
 * EMBED(name, "path"): a file's text as a NUL-terminated array, taken in when the object is
 * assembled. path is relative to the repository's root, where the compiler is started.
 */
#ifndef COMMON_EMBED_H
#define COMMON_EMBED_H

#define EMBED(name, path)                                                                          \
    __asm__(".section .rodata\n.global " #name "\n.type " #name ", @object\n" #name                \
            ":\n.incbin \"" path "\"\n.byte 0\n.previous\n");                                      \
    extern const char name[]

#endif
