/* SPDX-License-Identifier: MIT */
/* A gate: those who are inside are counted by epoch, so that a wait ends even if others keep
 * coming.
 */
#include "host/soft/soft.h"

void soft_gate_init(struct soft_gate *gate)
{
    pthread_mutex_init(&gate->lock, NULL);
    pthread_cond_init(&gate->changed, NULL);
}

void soft_gate_destroy(struct soft_gate *gate)
{
    pthread_cond_destroy(&gate->changed);
    pthread_mutex_destroy(&gate->lock);
}

unsigned int soft_gate_enter(struct soft_gate *gate)
{
    unsigned int epoch;

    pthread_mutex_lock(&gate->lock);
    epoch = gate->epoch;
    gate->running[epoch]++;
    pthread_mutex_unlock(&gate->lock);
    return epoch;
}

void soft_gate_exit(struct soft_gate *gate, unsigned int epoch)
{
    pthread_mutex_lock(&gate->lock);
    if (--gate->running[epoch] == 0)
        pthread_cond_broadcast(&gate->changed);
    pthread_mutex_unlock(&gate->lock);
}

void soft_gate_drain(struct soft_gate *gate)
{
    unsigned int old;

    pthread_mutex_lock(&gate->lock);
    while (gate->draining)
        pthread_cond_wait(&gate->changed, &gate->lock);
    gate->draining = true;
    old = gate->epoch;
    gate->epoch = !old;
    while (gate->running[old])
        pthread_cond_wait(&gate->changed, &gate->lock);
    gate->draining = false;
    pthread_cond_broadcast(&gate->changed);
    pthread_mutex_unlock(&gate->lock);
}
