/* Sets, or shows, the capability of one file and an attribute of another. */
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>

/* Version 2: net_bind_service, in force and permitted. */
static const unsigned char capability[20] = {1, 0, 0, 2, 0, 4};

static void show(const char *path, const char *name) {
    unsigned char value[64];
    ssize_t length = getxattr(path, name, value, sizeof value);
    printf("%s %s:", path, name);
    for (ssize_t i = 0; i < length; i++)
        printf(" %02x", value[i]);
    printf("\n");
}

int main(int count, char **words) {
    if (count != 4)
        return 2;
    if (strcmp(words[1], "show") == 0) {
        show(words[2], "security.capability");
        show(words[3], "user.note");
        return 0;
    }
    if (setxattr(words[2], "security.capability", capability, sizeof capability, 0)) {
        perror("security.capability");
        return 1;
    }
    if (setxattr(words[3], "user.note", "kept", 4, 0)) {
        perror("user.note");
        return 1;
    }
    return 0;
}
