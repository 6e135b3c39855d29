/* SPDX-License-Identifier: MIT */
/** @file viommu.h @brief All public headers at once. */
#ifndef VIOMMU_ALL_H
#define VIOMMU_ALL_H

#include <viommu/acpi.h>
#include <viommu/assign.h>
#include <viommu/ats.h>
#include <viommu/dma.h>
#include <viommu/error.h>
#include <viommu/host.h>
#include <viommu/interrupt.h>
#include <viommu/iommufd.h>
#include <viommu/log.h>
#include <viommu/memory.h>
#include <viommu/pci.h>
#include <viommu/sanitize.h>
#include <viommu/soft.h>
#include <viommu/stats.h>
#include <viommu/type1.h>
#include <viommu/version.h>
#include <viommu/vfio.h>
#include <viommu/viommu.h>
#include <viommu/vtd.h>

#endif
