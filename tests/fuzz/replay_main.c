// Runs a fuzz target over every file of the folders given as arguments, so that what the fuzzer
// once found stays found in every build: no libFuzzer is needed. Prints how many inputs ran; none
// at all is a failure, for then the corpus has moved and the test would prove nothing.
//
//     fuzz.decode tests/fuzz/corpus/decode
//
// Owner: main. Thread: one.

#include <dirent.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

// The copy is exactly as long as the input, so that AddressSanitizer sees a read past its end.
static bool
file_replay(const char *path, size_t size)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        return false;
    uint8_t *data = malloc(size > 0 ? size : 1);
    bool is_read = data && fread(data, 1, size, file) == size;
    fclose(file);
    if (is_read)
        (void)LLVMFuzzerTestOneInput(data, size);
    free(data);
    return is_read;
}

// Replays the regular files of one folder in any order; adds their number to *count.
static bool
folder_replay(const char *folder, size_t *count)
{
    DIR *dir = opendir(folder);
    if (!dir)
        return false;
    bool is_ok = true;
    for (struct dirent *entry = readdir(dir); entry && is_ok; entry = readdir(dir)) {
        char path[4096];
        struct stat status;
        int length = snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        is_ok = length > 0 && (size_t)length < sizeof path && stat(path, &status) == 0;
        if (!is_ok || !S_ISREG(status.st_mode))
            continue;
        is_ok = file_replay(path, (size_t)status.st_size);
        *count += is_ok;
        if (!is_ok)
            fprintf(stderr, "cannot read %s\n", path);
    }
    closedir(dir);
    return is_ok;
}

int
main(int argc, char **argv)
{
    size_t count = 0;
    for (int i = 1; i < argc; i++) {
        if (!folder_replay(argv[i], &count)) {
            fprintf(stderr, "cannot replay the folder %s\n", argv[i]);
            return EXIT_FAILURE;
        }
    }
    printf("%zu inputs replayed\n", count);
    return count > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
