/* SPDX-License-Identifier: MIT */
/*
 * The VFIO device of fake-vfio.h in a machine of machine.h, at 00:03.0; KVM is stood in for, as far
 * as the linker lets us.
 */
#ifndef TEST_VFIO_RIG_H
#define TEST_VFIO_RIG_H

#include "fake-vfio.h"
#include "machine.h"

#define SLOT 3u

/* The command register. */
#define COMMAND 0x04u
#define MEMORY  0x0002u
#define MASTER  0x0004u

struct fake_kvm {
    unsigned int slots;  /* directly mapped, now */
    uint64_t lowest;     /* of the addresses that were mapped since the last look */
    unsigned int routes; /* commits */
    bool refuses_routes;
    bool not_steady;  /* no message keeps its way */
    uint64_t address; /* of the last route */
    uint32_t data;
};
extern struct fake_kvm kvm;

extern struct vmm_vfio *vfio;
/* Of the simulated host, that it is attached as; NULL: it is not. */
extern const char *host_device;
extern bool hide_rom;
/* Called while it is built, unless NULL. */
extern void (*after_attaching)(struct machine *machine);
extern void (*before_registering)(struct machine *machine);

/* A machine without the device, and its end, when nothing may be left of that. */
struct machine *vfio_rig_bare_machine(void);
void vfio_rig_bare_machine_destroy(struct machine *machine);

/*
 * Give it the device; sets `vfio`. On failure there is none. In slot N of the guest it is
 * 0000:01:(N - SLOT).0 of the host, whose iommufd calls it N.
 */
int vfio_rig_try_device(struct machine *machine, struct viommu_error *error);
int vfio_rig_try_device_in(struct machine *machine, unsigned int slot, struct viommu_error *error);

/* A machine with the device, for cmocka. */
int vfio_rig_setup(void **state);
int vfio_rig_teardown(void **state);

/* Its configuration space, and the address of BAR 0. */
uint32_t vfio_rig_config(struct machine *machine, unsigned int offset, unsigned int size);
void vfio_rig_set_config(struct machine *machine, unsigned int offset, unsigned int size,
                         uint32_t value);
uint64_t vfio_rig_bar0(struct machine *machine);

/* What the guest makes of its interrupts. */
void vfio_rig_enable_msix(struct machine *machine);
void vfio_rig_set_vector(struct machine *machine, unsigned int vector, uint8_t number, bool masked);

/* Both fail when it does not come to that. */
void vfio_rig_wait_for_message(struct machine *machine, uint8_t vector, unsigned int count);
void vfio_rig_wait_for_line(struct machine *machine, bool level);

#endif
