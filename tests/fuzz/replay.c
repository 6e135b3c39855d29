/* SPDX-License-Identifier: MIT */
/* Runs a fuzz target over the files it is given: the corpus, in builds without libFuzzer. */
#include <stdint.h>
#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

int main(int argc, char **argv)
{
    static uint8_t bytes[1 << 16];

    for (int i = 1; i < argc; i++) {
        FILE *file = fopen(argv[i], "rb");
        size_t length;

        if (!file) {
            fprintf(stderr, "cannot read %s\n", argv[i]);
            return 1;
        }
        length = fread(bytes, 1, sizeof(bytes), file);
        fclose(file);
        LLVMFuzzerTestOneInput(bytes, length);
    }
    printf("%d inputs\n", argc - 1);
    return argc > 1 ? 0 : 1;
}
