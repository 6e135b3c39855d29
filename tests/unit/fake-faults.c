/* SPDX-License-Identifier: MIT */
/* The fault queues of the fake kernel: page requests that wait, and how they were answered. */
#include "fake-parts.h"

int fake_fault_alloc(struct fake_kernel *kernel, void *argument)
{
    struct uapi_fault_alloc *cmd = argument;
    int descriptor;

    if (cmd->flags)
        return -EOPNOTSUPP;
    cmd->out_fault_id = fake_object_new(kernel, FAKE_QUEUE);
    descriptor = fake_file_new(kernel, FAKE_FILE_QUEUE, cmd->out_fault_id);
    assert_true(descriptor > 0);
    kernel->objects[cmd->out_fault_id].queue_open = true;
    cmd->out_fault_fd = (uint32_t)descriptor;
    return 0;
}

void fake_page_request(struct fake_kernel *kernel, uint32_t queue, uint32_t cookie, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        kernel->faults[kernel->fault_count] = (struct uapi_fault){
            .flags = i + 1 == count ? UAPI_FAULT_LAST : 0,
            .grpid = cookie,
            .addr = i * 4096,
            .cookie = cookie,
        };
        kernel->fault_queues[kernel->fault_count++] = queue;
    }
}

/* Requests of the first group of a queue, and where it begins. */
static size_t first_group(const struct fake_kernel *kernel, uint32_t queue, size_t *at)
{
    size_t count = 0;

    for (size_t i = 0; i < kernel->fault_count; i++) {
        if (kernel->fault_queues[i] != queue)
            continue;
        if (!count)
            *at = i;
        if (kernel->faults[i].cookie != kernel->faults[*at].cookie)
            break;
        count++;
    }
    return count;
}

bool fake_faults_wait(const struct fake_kernel *kernel, uint32_t queue)
{
    size_t at;

    return first_group(kernel, queue, &at) > 0;
}

static void take_faults(struct fake_kernel *kernel, size_t at, size_t count)
{
    size_t after = kernel->fault_count - at - count;

    kernel->waiting[kernel->waiting_count++] = kernel->faults[at].cookie;
    memmove(kernel->faults + at, kernel->faults + at + count, after * sizeof(kernel->faults[0]));
    memmove(kernel->fault_queues + at, kernel->fault_queues + at + count,
            after * sizeof(kernel->fault_queues[0]));
    kernel->fault_count -= count;
}

ssize_t fake_faults_read(struct fake_kernel *kernel, uint32_t queue, struct uapi_fault *to,
                         size_t size)
{
    size_t room = size / sizeof(*to), done = 0, count, at = 0;

    if (size % sizeof(*to))
        return -ESPIPE;
    while ((count = first_group(kernel, queue, &at))) {
        if (count > room - done)
            return done ? (ssize_t)(done * sizeof(*to)) : -EINVAL;
        memcpy(to + done, kernel->faults + at, count * sizeof(*to));
        take_faults(kernel, at, count);
        done += count;
    }
    return (ssize_t)(done * sizeof(*to));
}

ssize_t fake_faults_answer(struct fake_kernel *kernel, const struct uapi_fault_response *response)
{
    size_t i = 0;

    while (i < kernel->waiting_count && kernel->waiting[i] != response->cookie)
        i++;
    if (i == kernel->waiting_count || response->code > 1)
        return -EINVAL;
    kernel->waiting[i] = kernel->waiting[--kernel->waiting_count];
    kernel->answers[kernel->answer_count][0] = response->cookie;
    kernel->answers[kernel->answer_count++][1] = response->code;
    return sizeof(*response);
}
