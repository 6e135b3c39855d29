/* SPDX-License-Identifier: MIT */
/*
 * Fault reasons as they stand in a fault record (VT-d 5.0, table 30 of 7.1.3). The comment at each
 * is the specification's condition code. tests/house/fault-reasons reads them, and wants a test
 * that raises each.
 */
#ifndef VTD_FAULT_CODES_H
#define VTD_FAULT_CODES_H

#include <stdbool.h>
#include <stdint.h>
#include <viommu/dma.h>

enum vtd_fault_reason {
    VTD_FAULT_NONE = 0,

    /* Legacy mode */
    VTD_FAULT_ROOT_NOT_PRESENT = 0x01,    /* LRT.2 */
    VTD_FAULT_CONTEXT_NOT_PRESENT = 0x02, /* LCT.2 */
    VTD_FAULT_CONTEXT_INVALID = 0x03,     /* LCT.4.1 width, .2 type, .3 SSPTPTR without memory */
    VTD_FAULT_ADDRESS_WIDTH = 0x04,       /* LGN.1.1 beyond the table, .3 beyond pass-through */
    VTD_FAULT_WRITE = 0x05,               /* LGN.2 */
    VTD_FAULT_READ = 0x06,                /* LGN.3 */
    VTD_FAULT_SS_ACCESS = 0x07,           /* LSS.1 */
    VTD_FAULT_ROOT_ACCESS = 0x08,         /* LRT.1 */
    VTD_FAULT_CONTEXT_ACCESS = 0x09,      /* LCT.1 */
    VTD_FAULT_ROOT_RESERVED = 0x0a,       /* LRT.3 */
    VTD_FAULT_CONTEXT_RESERVED = 0x0b,    /* LCT.3 */
    VTD_FAULT_SS_RESERVED = 0x0c,         /* LSS.2 */
    VTD_FAULT_TRANSLATION_BLOCKED = 0x0d, /* LCT.5 */
    VTD_FAULT_INTERRUPT_RANGE = 0x0e,     /* LGN.4 */

    /* Interrupt remapping; these have no condition codes */
    VTD_FAULT_IRQ_RESERVED = 0x20, /* reserved bits of the request */
    VTD_FAULT_IRQ_INDEX = 0x21,    /* beyond the table */
    VTD_FAULT_IRTE_NOT_PRESENT = 0x22,
    VTD_FAULT_IRTE_ACCESS = 0x23, /* no memory */
    VTD_FAULT_IRTE_RESERVED = 0x24,
    VTD_FAULT_IRQ_COMPATIBILITY = 0x25, /* EIME is set, or CFIS is clear */
    VTD_FAULT_IRTE_SOURCE = 0x26,
    VTD_FAULT_PID_ACCESS = 0x27, /* no memory, or none that can be written */
    VTD_FAULT_PID_RESERVED = 0x28,

    /* Root-table address register */
    VTD_FAULT_RTADDR_INVALID = 0x30,      /* RTA.1.1 abort-DMA without ADMS, .2 reserved mode */
    VTD_FAULT_RTADDR_PASID = 0x31,        /* RTA.2 */
    VTD_FAULT_RTADDR_PAGE_REQUEST = 0x32, /* RTA.3 */
    VTD_FAULT_RTADDR_ABORT = 0x33,        /* RTA.4 */

    /* Scalable mode: root, context */
    VTD_FAULT_SM_ROOT_ACCESS = 0x38,         /* SRT.1 */
    VTD_FAULT_SM_ROOT_NOT_PRESENT = 0x39,    /* SRT.2 */
    VTD_FAULT_SM_ROOT_RESERVED = 0x3a,       /* SRT.3 */
    VTD_FAULT_SM_CONTEXT_ACCESS = 0x40,      /* SCT.1 */
    VTD_FAULT_SM_CONTEXT_NOT_PRESENT = 0x41, /* SCT.2 */
    VTD_FAULT_SM_CONTEXT_RESERVED = 0x42,    /* SCT.3 */
    VTD_FAULT_SM_CONTEXT_INVALID = 0x43,     /* SCT.4.1 PRE without DTE, .2 RID_PASID */
    VTD_FAULT_SM_DTE_CLEAR = 0x44,           /* SCT.5 */
    VTD_FAULT_SM_PASIDE_CLEAR = 0x45,        /* SCT.6 */
    VTD_FAULT_SM_PASID_TOO_LARGE = 0x46,     /* SCT.7 */
    VTD_FAULT_SM_PRE_CLEAR = 0x47,           /* SCT.8 */
    VTD_FAULT_SM_PASID_IS_RID_PASID = 0x48,  /* SCT.9 */

    /* Scalable mode: PASID directory and table */
    VTD_FAULT_SM_PDE_ACCESS = 0x50,        /* SPD.1 */
    VTD_FAULT_SM_PDE_NOT_PRESENT = 0x51,   /* SPD.2 */
    VTD_FAULT_SM_PDE_RESERVED = 0x52,      /* SPD.3 */
    VTD_FAULT_SM_PASID_ACCESS = 0x58,      /* SPT.1 */
    VTD_FAULT_SM_PASID_NOT_PRESENT = 0x59, /* SPT.2 */
    VTD_FAULT_SM_PASID_RESERVED = 0x5a,    /* SPT.3 */
    VTD_FAULT_SM_PASID_INVALID = 0x5b,     /* SPT.4.1 width, .2 type, .3 FSPM, .4 FSPTPTR */
    VTD_FAULT_SM_ERE_CLEAR = 0x5c,         /* SPT.5 */
    VTD_FAULT_SM_SRE_CLEAR = 0x5d,         /* SPT.6 */

    /* Scalable mode: first stage */
    VTD_FAULT_FS_ACCESS = 0x70,        /* SFS.1 */
    VTD_FAULT_FS_NOT_PRESENT = 0x71,   /* SFS.2 */
    VTD_FAULT_FS_RESERVED = 0x72,      /* SFS.3 */
    VTD_FAULT_FS_ROOT_ACCESS = 0x73,   /* SFS.4 */
    VTD_FAULT_FS_ADDRESS_WIDTH = 0x74, /* SFS.5 */
    VTD_FAULT_FS_ROOT_READ = 0x75,     /* SFS.6 */
    VTD_FAULT_FS_TABLE_READ = 0x76,    /* SFS.7 */
    VTD_FAULT_FS_TABLE_WRITE = 0x77,   /* SFS.8 */
    VTD_FAULT_FS_NOT_SNOOPED = 0x90,   /* SFS.9 */
    VTD_FAULT_FS_UPDATE = 0x91,        /* SFS.10 */

    /* Scalable mode: second stage */
    VTD_FAULT_SM_SS_ACCESS = 0x78,      /* SSS.1 */
    VTD_FAULT_SM_SS_NOT_PRESENT = 0x79, /* SSS.2 */
    VTD_FAULT_SM_SS_RESERVED = 0x7a,    /* SSS.3 */
    VTD_FAULT_SM_SS_ROOT_ACCESS = 0x7b, /* SSS.4 */
    VTD_FAULT_SM_SS_NOT_SNOOPED = 0x7c, /* SSS.5 */
    VTD_FAULT_SM_SS_UPDATE = 0x7d,      /* SSS.6 */

    /* Scalable mode: general */
    VTD_FAULT_SM_NOT_CANONICAL = 0x80,   /* SGN.1 */
    VTD_FAULT_SM_PRIVILEGE = 0x81,       /* SGN.2 */
    VTD_FAULT_SM_EXECUTE = 0x82,         /* SGN.3 */
    VTD_FAULT_SM_HOST_WIDTH = 0x83,      /* SGN.4 */
    VTD_FAULT_SM_ADDRESS_WIDTH = 0x84,   /* SGN.5 */
    VTD_FAULT_SM_WRITE = 0x85,           /* SGN.6 */
    VTD_FAULT_SM_READ = 0x86,            /* SGN.7 */
    VTD_FAULT_SM_INTERRUPT_RANGE = 0x87, /* SGN.8 */
    VTD_FAULT_SM_PASID_WIDTH = 0x89,     /* SGN.10 */
};

/* What table 30 says about a reason, and what the device is told. */
struct vtd_fault_code {
    const char *condition;         /* "SPT.3", or in words; NULL: no such reason */
    enum viommu_dma_status status; /* of the request that met it */
    bool qualified;                /* fault-processing-disable suppresses it */
};

/* The row of a reason; an empty one for a number that is none. Never NULL. */
const struct vtd_fault_code *vtd_fault_code(uint32_t reason);

#endif
