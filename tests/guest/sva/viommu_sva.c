// SPDX-License-Identifier: MIT
/*
 * The in-guest user of Linux SVA: binds a process to the copy engine of an edu function.
 *
 * The kernel's own way is iommu_sva_bind_device(), and it is tried first. Stable kernels since the
 * end of 2025 (CVE-2025-71089), Debian's 6.12 among them, answer EOPNOTSUPP there on x86, although
 * everything below it is in place. Then the module does what that function did before: it takes an
 * SVA domain from the IOMMU driver, attaches it to a PASID of its own, and serves the page faults.
 * Page requests, device-TLB invalidations and the draining of both are the kernel's in either case.
 */
#include "viommu_sva.h"

#include <linux/delay.h>
#include <linux/iommu.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/sched/mm.h>
#include <linux/version.h>

#define STOP_TIMEOUT_MS 20000

struct sva_bond {
    struct iommu_sva *sva;       /* by the kernel's way */
    struct iommu_domain *domain; /* by our own */
    struct iommu_attach_handle handle;
    u32 pasid;
};

struct sva_device {
    struct pci_dev *pci;
    void __iomem *engine;
    struct miscdevice misc;
    struct mutex lock; /* the rest */
    struct sva_bond *bond;
    struct file *owner;
};

/* ---- Page faults of a domain of our own */

static enum iommu_page_response_code serve_page(struct mm_struct *mm,
                                                const struct iommu_fault_page_request *request)
{
    unsigned int flags = FAULT_FLAG_REMOTE | FAULT_FLAG_USER;
    vm_flags_t wanted = 0;
    struct vm_area_struct *vma;
    vm_fault_t fault = VM_FAULT_SIGSEGV;

    if (request->perm & IOMMU_FAULT_PERM_READ)
        wanted |= VM_READ;
    if (request->perm & IOMMU_FAULT_PERM_WRITE) {
        wanted |= VM_WRITE;
        flags |= FAULT_FLAG_WRITE;
    }
    mmap_read_lock(mm);
    vma = find_vma(mm, request->addr);
    if (vma && vma->vm_start <= request->addr && !(wanted & ~vma->vm_flags))
        fault = handle_mm_fault(vma, request->addr, flags, NULL);
    mmap_read_unlock(mm);
    return fault & VM_FAULT_ERROR ? IOMMU_PAGE_RESP_INVALID : IOMMU_PAGE_RESP_SUCCESS;
}

static void serve_group(struct work_struct *work)
{
    struct iopf_group *group = container_of(work, struct iopf_group, work);
    enum iommu_page_response_code code = IOMMU_PAGE_RESP_INVALID;
    struct mm_struct *mm = group->attach_handle->domain->mm;
    struct iopf_fault *fault;

    if (mmget_not_zero(mm)) {
        code = IOMMU_PAGE_RESP_SUCCESS;
        list_for_each_entry(fault, &group->faults, list)
        {
            if (code == IOMMU_PAGE_RESP_SUCCESS)
                code = serve_page(mm, &fault->fault.prm);
        }
        mmput(mm);
    }
    iopf_group_response(group, code);
    iopf_free_group(group);
}

static int queue_group(struct iopf_group *group)
{
    INIT_WORK(&group->work, serve_group);
    return queue_work(group->fault_param->queue->wq, &group->work) ? 0 : -EBUSY;
}

/* ---- Binding */

static struct iommu_domain *alloc_domain(struct device *dev, struct mm_struct *mm)
{
    const struct iommu_ops *ops = dev->iommu->iommu_dev->ops;
    struct iommu_domain *domain;

    if (!ops->domain_alloc_sva)
        return ERR_PTR(-EOPNOTSUPP);
    domain = ops->domain_alloc_sva(dev, mm);
    if (IS_ERR(domain))
        return domain;
    domain->type = IOMMU_DOMAIN_SVA;
    mmgrab(mm);
    domain->mm = mm;
    domain->owner = ops;
    domain->iopf_handler = queue_group;
    return domain;
}

static int bind_ourselves(struct device *dev, struct mm_struct *mm, struct sva_bond *bond)
{
    int ret;

    bond->pasid = iommu_alloc_global_pasid(dev);
    if (bond->pasid == IOMMU_PASID_INVALID)
        return -ENOSPC;
    bond->domain = alloc_domain(dev, mm);
    if (IS_ERR(bond->domain)) {
        ret = PTR_ERR(bond->domain);
        goto free_pasid;
    }
    ret = iommu_attach_device_pasid(bond->domain, dev, bond->pasid, &bond->handle);
    if (ret)
        goto free_domain;
    return 0;
free_domain:
    iommu_domain_free(bond->domain);
free_pasid:
    iommu_free_global_pasid(bond->pasid);
    return ret;
}

static int bind_mm(struct device *dev, struct mm_struct *mm, struct sva_bond *bond)
{
    struct iommu_sva *sva = iommu_sva_bind_device(dev, mm);

    if (!IS_ERR(sva)) {
        bond->sva = sva;
        bond->pasid = iommu_sva_get_pasid(sva);
        return 0;
    }
    if (PTR_ERR(sva) != -EOPNOTSUPP)
        return PTR_ERR(sva);
    return bind_ourselves(dev, mm, bond);
}

static void unbind_mm(struct device *dev, struct sva_bond *bond)
{
    if (bond->sva) {
        iommu_sva_unbind_device(bond->sva);
        return;
    }
    iommu_detach_device_pasid(bond->domain, dev, bond->pasid);
    iommu_domain_free(bond->domain);
    iommu_free_global_pasid(bond->pasid);
}

/* ---- The device: nothing with this PASID comes from it afterwards */

static void stop_engine(struct sva_device *sva)
{
    int i;

    writel(1, sva->engine + SVA_STOP);
    for (i = 0; readl(sva->engine + SVA_STATUS) & SVA_BUSY; i++) {
        if (i == STOP_TIMEOUT_MS) {
            dev_err(&sva->pci->dev, "the engine does not stop\n");
            break;
        }
        usleep_range(1000, 2000);
    }
    writel(0, sva->engine + SVA_PASID);
}

static void unbind_locked(struct sva_device *sva)
{
    if (!sva->bond)
        return;
    stop_engine(sva);
    unbind_mm(&sva->pci->dev, sva->bond);
    kfree(sva->bond);
    sva->bond = NULL;
    sva->owner = NULL;
}

static long bind_locked(struct sva_device *sva, struct file *file)
{
    struct sva_bond *bond;
    int ret;

    if (sva->bond)
        return -EBUSY;
    bond = kzalloc(sizeof(*bond), GFP_KERNEL);
    if (!bond)
        return -ENOMEM;
    ret = bind_mm(&sva->pci->dev, current->mm, bond);
    if (ret) {
        kfree(bond);
        return ret;
    }
    dev_info(&sva->pci->dev, "PASID %u bound by %s\n", bond->pasid,
             bond->sva ? "iommu_sva_bind_device()" : "an SVA domain of the module's");
    sva->bond = bond;
    sva->owner = file;
    writel(SVA_PASID_VALID | bond->pasid, sva->engine + SVA_PASID);
    return bond->pasid;
}

/* ---- The file */

static struct sva_device *sva_of(struct file *file)
{
    return container_of(file->private_data, struct sva_device, misc);
}

static long sva_ioctl(struct file *file, unsigned int command, unsigned long argument)
{
    struct sva_device *sva = sva_of(file);
    long ret = -ENOTTY;

    mutex_lock(&sva->lock);
    if (command == VIOMMU_SVA_BIND) {
        ret = bind_locked(sva, file);
    } else if (command == VIOMMU_SVA_UNBIND) {
        ret = sva->owner == file ? 0 : -EINVAL;
        if (!ret)
            unbind_locked(sva);
    }
    mutex_unlock(&sva->lock);
    return ret;
}

/* Not the driver's page: a process must not choose the PASID. */
static int sva_mmap(struct file *file, struct vm_area_struct *vma)
{
    struct sva_device *sva = sva_of(file);
    resource_size_t page = pci_resource_start(sva->pci, 0) + SVA_ENGINE;

    if (vma->vm_pgoff || vma->vm_end - vma->vm_start != PAGE_SIZE)
        return -EINVAL;
    vma->vm_page_prot = pgprot_noncached(vma->vm_page_prot);
    return io_remap_pfn_range(vma, vma->vm_start, page >> PAGE_SHIFT, PAGE_SIZE, vma->vm_page_prot);
}

/* When a process exits, its address space is gone already, and the device may still be at work. */
static int sva_release(struct inode *inode, struct file *file)
{
    struct sva_device *sva = sva_of(file);

    mutex_lock(&sva->lock);
    if (sva->owner == file)
        unbind_locked(sva);
    mutex_unlock(&sva->lock);
    return 0;
}

static int sva_open(struct inode *inode, struct file *file)
{
    return 0; /* misc has set private_data */
}

static const struct file_operations sva_fops = {
    .owner = THIS_MODULE,
    .open = sva_open,
    .release = sva_release,
    .unlocked_ioctl = sva_ioctl,
    .mmap = sva_mmap,
};

/* ---- The PCI function */

/* Since 6.16 attaching a domain enables what it needs. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 16, 0)
static int enable_features(struct device *dev)
{
    int ret = iommu_dev_enable_feature(dev, IOMMU_DEV_FEAT_IOPF);

    if (ret)
        return dev_err_probe(dev, ret, "page requests cannot be enabled\n");
    ret = iommu_dev_enable_feature(dev, IOMMU_DEV_FEAT_SVA);
    if (ret) {
        iommu_dev_disable_feature(dev, IOMMU_DEV_FEAT_IOPF);
        return dev_err_probe(dev, ret, "SVA cannot be enabled\n");
    }
    return 0;
}

static void disable_features(struct device *dev)
{
    iommu_dev_disable_feature(dev, IOMMU_DEV_FEAT_SVA);
    iommu_dev_disable_feature(dev, IOMMU_DEV_FEAT_IOPF);
}
#else
static int enable_features(struct device *dev)
{
    return 0;
}

static void disable_features(struct device *dev)
{
}
#endif

static int sva_probe(struct pci_dev *pci, const struct pci_device_id *id)
{
    struct device *dev = &pci->dev;
    struct sva_device *sva;
    int ret;

    if (!pci->pasid_cap || !pci->pri_cap)
        return -ENODEV;
    sva = devm_kzalloc(dev, sizeof(*sva), GFP_KERNEL);
    if (!sva)
        return -ENOMEM;
    mutex_init(&sva->lock);
    sva->pci = pci;
    ret = pcim_enable_device(pci);
    if (!ret)
        ret = pcim_iomap_regions(pci, BIT(0), KBUILD_MODNAME);
    if (ret)
        return ret;
    sva->engine = pcim_iomap_table(pci)[0] + SVA_ENGINE;
    pci_set_master(pci);
    ret = enable_features(dev);
    if (ret)
        return ret;
    sva->misc.minor = MISC_DYNAMIC_MINOR;
    sva->misc.fops = &sva_fops;
    sva->misc.name = devm_kasprintf(dev, GFP_KERNEL, "viommu-sva-%s", pci_name(pci));
    ret = sva->misc.name ? misc_register(&sva->misc) : -ENOMEM;
    if (ret) {
        disable_features(dev);
        return ret;
    }
    pci_set_drvdata(pci, sva);
    return 0;
}

static void sva_remove(struct pci_dev *pci)
{
    struct sva_device *sva = pci_get_drvdata(pci);

    misc_deregister(&sva->misc);
    mutex_lock(&sva->lock);
    unbind_locked(sva);
    mutex_unlock(&sva->lock);
    disable_features(&pci->dev);
}

static const struct pci_device_id sva_ids[] = {{PCI_DEVICE(0x1234, 0x11e8)}, {}};
MODULE_DEVICE_TABLE(pci, sva_ids);

static struct pci_driver sva_driver = {
    .name = KBUILD_MODNAME,
    .id_table = sva_ids,
    .probe = sva_probe,
    .remove = sva_remove,
};
module_pci_driver(sva_driver);

MODULE_DESCRIPTION("Linux SVA on libviommu's edu device");
MODULE_LICENSE("Dual MIT/GPL");
