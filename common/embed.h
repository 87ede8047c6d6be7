/*
 * EMBED(name, "path"): a file's text as a NUL-terminated array, taken in when the object is
 * assembled. path is relative to the repository's root, where the compiler is started.
 * EMBED_BEHIND(name, "first", "path"): the same behind another file's text.
 */
#ifndef COMMON_EMBED_H
#define COMMON_EMBED_H

#define EMBED(name, path) EMBED_TEXT(name, ".incbin \"" path "\"\n")
#define EMBED_BEHIND(name, first, path)                                                            \
    EMBED_TEXT(name, ".incbin \"" first "\"\n.incbin \"" path "\"\n")
#define EMBED_TEXT(name, taken)                                                                    \
    __asm__(".section .rodata\n.global " #name "\n.type " #name ", @object\n" #name ":\n" taken    \
            ".byte 0\n.previous\n");                                                               \
    extern const char name[]

#endif
