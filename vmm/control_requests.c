/* SPDX-License-Identifier: MIT */
/* What can be asked for on the control socket. */
#include "control.h"
#include "pci.h"
#include "pci_host.h"
#include "vmm.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define NO_MEMORY "there is no memory for an answer"

/* As a JSON string; what is not printable ASCII is escaped. */
static void print_string(const char *text, FILE *answer)
{
    fputc('"', answer);
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;

        if (c == '"' || c == '\\')
            fprintf(answer, "\\%c", c);
        else if (c < ' ' || c > '~')
            fprintf(answer, "\\u%04x", c);
        else
            fputc(c, answer);
    }
    fputc('"', answer);
}

void vmm_control_refuse(const char *sentence, FILE *answer)
{
    fprintf(answer, "{\"ok\":false,\"error\":");
    print_string(sentence, answer);
    fprintf(answer, "}");
}

/* "SEGMENT:BUS:DEVICE.FUNCTION" in hexadecimal, with or without the segment; the bus is 0. */
static bool parse_function(const char *text, unsigned int *segment, unsigned int *devfn)
{
    unsigned int bus, device, function;
    int end = 0;

    *segment = 0;
    if (text[strspn(text, "0123456789abcdefABCDEF:.")])
        return false; /* sscanf() would take spaces and signs */
    if (sscanf(text, "%4x:%2x:%2x.%1x%n", segment, &bus, &device, &function, &end) != 4 ||
        text[end]) {
        *segment = 0;
        end = 0;
        if (sscanf(text, "%2x:%2x.%1x%n", &bus, &device, &function, &end) != 3 || text[end])
            return false;
    }
    *devfn = device << 3 | function;
    return bus == 0 && device < 32 && function < 8;
}

static int unplug(struct vmm *vm, const char *argument, FILE *answer, struct viommu_error *err)
{
    unsigned int segment, devfn;

    (void)answer;
    if (!parse_function(argument, &segment, &devfn))
        return vmm_fail(err, EINVAL,
                        "'%s' is no function of a root bus; write it as 00:03.0 or 0000:00:03.0",
                        argument);
    return vmm_pci_unplug(vm, segment, devfn, err);
}

static int list_functions(struct vmm *vm, const char *argument, FILE *answer,
                          struct viommu_error *err)
{
    const char *separator = "";
    struct vmm_pci_function *fn = NULL;

    (void)argument, (void)err;
    fprintf(answer, ",\"functions\":[");
    pthread_mutex_lock(&vm->plug_lock);
    while ((fn = vmm_pci_next(vm, fn))) {
        if (fn->unplugged)
            continue;
        fprintf(answer, "%s{\"function\":\"%04x:00:%02x.%u\",\"name\":", separator, fn->id.segment,
                fn->devfn >> 3, fn->devfn & 7u);
        print_string(fn->id.name, answer);
        fprintf(answer, "}");
        separator = ",";
    }
    pthread_mutex_unlock(&vm->plug_lock);
    fprintf(answer, "]");
    return 0;
}

static int help(struct vmm *vm, const char *argument, FILE *answer, struct viommu_error *err);

static const struct request {
    const char *name;
    const char *argument; /* NULL: it takes none */
    /* Prints members of the answer, each with a comma before it; on failure nothing, and `err`. */
    int (*carry_out)(struct vmm *vm, const char *argument, FILE *answer, struct viommu_error *err);
} requests[] = {
    {"unplug", "FUNCTION", unplug},
    {"functions", NULL, list_functions},
    {"help", NULL, help},
};
#define REQUESTS (sizeof(requests) / sizeof(requests[0]))

static int help(struct vmm *vm, const char *argument, FILE *answer, struct viommu_error *err)
{
    (void)vm, (void)argument, (void)err;
    fprintf(answer, ",\"requests\":[");
    for (size_t i = 0; i < REQUESTS; i++)
        fprintf(answer, "%s\"%s%s%s\"", i ? "," : "", requests[i].name,
                requests[i].argument ? " " : "", requests[i].argument ? requests[i].argument : "");
    fprintf(answer, "]");
    return 0;
}

static const struct request *find(const char *text, size_t length)
{
    for (size_t i = 0; i < REQUESTS; i++)
        if (strlen(requests[i].name) == length && !memcmp(requests[i].name, text, length))
            return &requests[i];
    return NULL;
}

static int take(struct vmm *vm, const char *text, FILE *answer, struct viommu_error *err)
{
    size_t length = strcspn(text, " ");
    const struct request *request = find(text, length);
    const char *argument = text + length + strspn(text + length, " ");

    if (!request)
        return vmm_fail(err, EINVAL,
                        "'%.*s' is no request; there is unplug FUNCTION, functions, and help",
                        (int)length, text);
    if (!request->argument && *argument)
        return vmm_fail(err, EINVAL, "%s takes no argument; leave '%s' out", request->name,
                        argument);
    if (request->argument && !*argument)
        return vmm_fail(err, EINVAL, "%s lacks its argument; write %s %s", request->name,
                        request->name, request->argument);
    return request->carry_out(vm, argument, answer, err);
}

static void finish(FILE *buffer, char **members, FILE *answer)
{
    if (fclose(buffer))
        vmm_control_refuse(NO_MEMORY, answer);
    else
        fprintf(answer, "{\"ok\":true%s}", *members);
}

void vmm_control_answer(struct vmm *vm, const char *request, FILE *answer)
{
    struct viommu_error err = {0};
    char *members = NULL;
    size_t size = 0;
    FILE *buffer = open_memstream(&members, &size);

    if (!buffer) {
        vmm_control_refuse(NO_MEMORY, answer);
        return;
    }
    if (take(vm, request, buffer, &err)) {
        fclose(buffer);
        vmm_control_refuse(err.message, answer);
    } else {
        finish(buffer, &members, answer);
    }
    free(members);
}
