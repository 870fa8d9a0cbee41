#include "sysfs-model.h"

#include "base/str.h"

#include <errno.h>
#include <unistd.h>

struct model_device *model_device(struct model *m, const char *address) {
        for (size_t i = 0; i < m->n_devices; i++)
                if (m->devices[i].there && str_eq(m->devices[i].address, address))
                        return &m->devices[i];
        return NULL;
}

struct model_driver *model_driver(struct model *m, const char *name) {
        for (size_t i = 0; i < m->n_drivers; i++)
                if (str_eq(m->drivers[i].name, name))
                        return &m->drivers[i];
        return NULL;
}

/* --- the bus --- */

static bool matches(const struct model_driver *drv, const struct model_device *d) {
        if (!drv->loaded || (d->override[0] && !str_eq(d->override, drv->name)))
                return false;
        return d->override[0] || (drv->vendor == d->vendor && drv->device == d->device);
}

static bool is_vfio(const struct model_driver *drv) {
        return str_eq(drv->name, "vfio-pci");
}

static int probe(struct model_driver *drv, struct model_device *d) {
        if (drv->probe_error)
                return drv->probe_error;
        if (is_vfio(drv) && (d->bridge || d->group < 0))
                return -EINVAL;
        d->driver = drv;
        if (drv->allows_sleep)
                strcpy(d->power, "auto");
        return 0;
}

static void offer(struct model *m, struct model_device *d) {
        for (size_t i = 0; i < m->n_drivers && !d->driver; i++)
                if (matches(&m->drivers[i], d))
                        (void) probe(&m->drivers[i], d);
}

static int do_unbind(struct model *m, struct model_driver *drv, const char *address) {
        struct model_device *d = model_device(m, address);

        if (!d || d->driver != drv)
                return -ENODEV;
        for (; drv->hangs;)
                pause();
        m->left_asleep |= !is_vfio(drv) && str_eq(d->power, "auto");
        d->driver = NULL;
        strcpy(d->power, "on");
        if (drv->regrabs)
                (void) probe(drv, d);
        return 0;
}

static int do_bind(struct model *m, struct model_driver *drv, const char *address) {
        struct model_device *d = model_device(m, address);

        if (!d || !matches(drv, d))
                return -ENODEV;
        return d->driver ? -EBUSY : drv->bind_error ? drv->bind_error : probe(drv, d);
}

static int do_probe(struct model *m, const char *address) {
        struct model_device *d = model_device(m, address);

        if (!d)
                return -ENODEV;
        offer(m, d);
        return 0;
}

/* --- attributes --- */

static int set_reset(struct model_device *d, const char *text) {
        _cleanup_free_ char *words = xstrdup(text);
        char *rest = NULL;

        if (str_eq(text, "default")) {
                strcpy(d->reset, d->all_resets);
                return 0;
        }
        for (char *w = strtok_r(words, " ", &rest); w; w = strtok_r(NULL, " ", &rest))
                if (!strstr(d->all_resets, w))
                        return -EINVAL;
        snprintf(d->reset, sizeof(d->reset), "%s", text);
        return 0;
}

static int set_attribute(struct model_device *d, const char *name, const char *text) {
        _cleanup_free_ char *value = xstrdup(text);

        if (!*text)
                return 0; /* never reaches the attribute */
        value[strcspn(value, "\n")] = '\0';
        if (str_eq(name, "driver_override")) {
                snprintf(d->override, sizeof(d->override), "%s", value);
                return 0;
        }
        if (str_eq(name, "reset_method") && d->resets)
                return set_reset(d, value);
        if (str_eq(name, "d3cold_allowed") && d->d3cold >= 0) {
                if (!str_eq(value, "0") && !str_eq(value, "1"))
                        return -EINVAL;
                d->d3cold = value[0] == '1';
                return 0;
        }
        if (str_eq(name, "power/control")) {
                if (!str_eq(value, "on") && !str_eq(value, "auto"))
                        return -EINVAL;
                strcpy(d->power, value);
                return 0;
        }
        return -ENOENT;
}

static char *get_attribute(const struct model_device *d, const char *name) {
        if (str_eq(name, "vendor"))
                return xasprintf("0x%04x", d->vendor);
        if (str_eq(name, "device"))
                return xasprintf("0x%04x", d->device);
        if (str_eq(name, "class"))
                return xasprintf("0x%06x", d->class);
        if (str_eq(name, "driver_override"))
                return xstrdup(d->override[0] ? d->override : "(null)");
        if (str_eq(name, "power/control"))
                return xstrdup(d->power);
        if (str_eq(name, "power_state"))
                return xstrdup(str_eq(d->power, "auto") ? "D3hot" : "D0");
        if (str_eq(name, "d3cold_allowed") && d->d3cold >= 0)
                return xasprintf("%d", d->d3cold);
        if (str_eq(name, "reset_method") && d->resets)
                return xstrdup(d->reset);
        if (str_eq(name, "secondary_bus_number") && d->bridge)
                return xstrdup("11");
        if (str_eq(name, "boot_vga") && d->class >> 8 == 0x0300)
                return xstrdup("1");
        return NULL;
}

/* --- paths --- */

/* ".../ADDRESS/REST" -> the device, and REST ("" for the device itself). */
static struct model_device *device_at(struct model *m, const char *path, const char **ret_rest) {
        static const char folder[] = "/sys/bus/pci/devices/";
        _cleanup_free_ char *address = NULL;

        if (!str_starts(path, folder))
                return NULL;
        path += strlen(folder);
        size_t n = strcspn(path, "/");
        address = xasprintf("%.*s", (int) n, path);
        *ret_rest = path[n] ? path + n + 1 : "";
        return model_device(m, address);
}

static struct model_driver *driver_at(struct model *m, const char *path, const char **ret_rest) {
        static const char folder[] = "/sys/bus/pci/drivers/";
        _cleanup_free_ char *name = NULL;

        if (!str_starts(path, folder))
                return NULL;
        path += strlen(folder);
        size_t n = strcspn(path, "/");
        name = xasprintf("%.*s", (int) n, path);
        *ret_rest = path[n] ? path + n + 1 : "";
        struct model_driver *drv = model_driver(m, name);
        return drv && drv->loaded ? drv : NULL;
}

/* --- operations --- */

static int do_read(struct model *m, const char *path, char **ret) {
        const char *rest;
        const struct model_device *d = device_at(m, path, &rest);
        char *text = d ? get_attribute(d, rest) : NULL;

        if (m->hangs_reading && str_ends(path, m->hangs_reading))
                for (;;)
                        pause();
        if (!text)
                return -ENOENT;
        *ret = text;
        return 0;
}

static int do_write(struct model *m, const char *path, const char *text) {
        const char *rest;
        struct model_device *d = device_at(m, path, &rest);
        struct model_driver *drv;

        m->writes++;
        if (m->hangs_at && str_ends(path, m->hangs_at))
                for (;;)
                        pause();
        if (d)
                return set_attribute(d, rest, text);
        if (str_eq(path, "/sys/bus/pci/drivers_probe"))
                return do_probe(m, text);
        drv = driver_at(m, path, &rest);
        if (drv && str_eq(rest, "new_id"))
                m->uses_new_id = true;
        return drv && str_eq(rest, "bind")   ? do_bind(m, drv, text) :
               drv && str_eq(rest, "unbind") ? do_unbind(m, drv, text) :
                                               -ENOENT;
}

static int do_readlink(struct model *m, const char *path, char **ret) {
        const char *rest;
        const struct model_device *d = device_at(m, path, &rest);
        const struct model_driver *drv = driver_at(m, path, &rest);

        if (d && !*rest)
                *ret = xasprintf("../../../devices/pci0000:00/%s", d->address);
        else if (d && str_eq(rest, "driver") && d->driver)
                *ret = xasprintf("../../../../bus/pci/drivers/%s", d->driver->name);
        else if (d && str_eq(rest, "iommu_group") && d->group >= 0)
                *ret = xasprintf("../../../../kernel/iommu_groups/%d", d->group);
        else if (drv && str_eq(rest, "module") && drv->module[0])
                *ret = xasprintf("../../../../module/%s", drv->module);
        else
                return -ENOENT;
        return 0;
}

static int do_names(struct model *m, const char *path, struct host_names *ret) {
        const char *rest;
        int group = -1;

        *ret = (struct host_names){ .items = xcalloc(MODEL_MAX, sizeof(char *)) };
        if (driver_at(m, path, &rest) && !*rest)
                return 0;
        if (m->has_backend && str_eq(path, "/sys/module/vfio_iommu_type1"))
                return 0;
        if (sscanf(path, "/sys/kernel/iommu_groups/%d/devices", &group) == 1)
                for (size_t i = 0; i < m->n_devices; i++)
                        if (m->devices[i].there && m->devices[i].group == group)
                                ret->items[ret->n++] = xstrdup(m->devices[i].address);
        if (ret->n > 0)
                return 0;
        host_names_done(ret);
        return -ENOENT;
}

static ssize_t do_bytes(struct model *m, const char *path, void *ret, size_t n) {
        const char *rest;
        const struct model_device *d = device_at(m, path, &rest);

        if (!d || !str_eq(rest, "config"))
                return -ENOENT;
        memset(ret, d->dead ? 0xff : 0x10, n);
        return (ssize_t) n;
}

static int do_load(struct model *m, const char *module) {
        int r = -ENOENT;

        m->writes++;
        if (str_eq(module, "vfio_iommu_type1")) {
                m->has_backend = true;
                return 0;
        }
        for (size_t i = 0; i < m->n_drivers; i++) {
                if (!str_eq(m->drivers[i].module, module))
                        continue;
                r = 0;
                if (m->drivers[i].loaded)
                        continue;
                m->drivers[i].loaded = true;
                for (size_t j = 0; j < m->n_devices; j++)
                        if (m->devices[j].there && !m->devices[j].driver &&
                            matches(&m->drivers[i], &m->devices[j]))
                                (void) probe(&m->drivers[i], &m->devices[j]);
        }
        return r;
}

/* --- faults --- */

/* What the operation that begins is to fail with before (or after) its effect, or 0. */
static int fault(struct model *m, int op, bool after) {
        if (m->dead_from >= 0 && op >= m->dead_from)
                return -EIO;
        for (size_t i = 0; i < ARRAY_SIZE(m->faults); i++)
                if (m->faults[i].at == op && m->faults[i].after == after)
                        return m->faults[i].code;
        return 0;
}

static void vanish(struct model *m, int op) {
        if (m->vanish_at == op)
                m->devices[0].there = false;
}

#define WITH_FAULTS(type, call)                                                                              \
        struct model *m = data;                                                                              \
        int op = m->op++, code;                                                                              \
                                                                                                             \
        vanish(m, op);                                                                                       \
        if ((code = fault(m, op, false)) < 0)                                                                \
                return code;                                                                                 \
        type r = call;                                                                                       \
        code = fault(m, op, true);

static int model_read(void *data, const char *path, char **ret) {
        char *text = NULL;
        WITH_FAULTS(int, do_read(m, path, &text))

        if (code < 0 || r < 0)
                free(text);
        else
                *ret = text;
        return code < 0 ? code : r;
}

static int model_write(void *data, const char *path, const char *text) {
        WITH_FAULTS(int, do_write(m, path, text))

        return code < 0 ? code : r;
}

static int model_readlink(void *data, const char *path, char **ret) {
        char *text = NULL;
        WITH_FAULTS(int, do_readlink(m, path, &text))

        if (code < 0 || r < 0)
                free(text);
        else
                *ret = text;
        return code < 0 ? code : r;
}

static int model_names(void *data, const char *path, struct host_names *ret) {
        struct host_names names = { 0 };
        WITH_FAULTS(int, do_names(m, path, &names))

        if (code < 0)
                host_names_done(&names);
        else
                *ret = names;
        return code < 0 ? code : r;
}

static ssize_t model_bytes(void *data, const char *path, void *ret, size_t n) {
        WITH_FAULTS(ssize_t, do_bytes(m, path, ret, n))

        return code < 0 ? code : r;
}

static int model_load(void *data, const char *module) {
        WITH_FAULTS(int, do_load(m, module))

        return code < 0 ? code : r;
}

static int do_open_by(struct model *m, const char *address, char **ret) {
        const struct model_device *d = model_device(m, address);

        if (!d)
                return -ENOENT;
        if (d->open_by)
                *ret = xstrdup(d->open_by);
        return d->open_by != NULL;
}

static int model_open_by(void *data, const char *address, char **ret) {
        char *text = NULL;
        WITH_FAULTS(int, do_open_by(m, address, &text))

        if (code < 0 || r < 0)
                free(text);
        else
                *ret = text;
        return code < 0 ? code : r;
}

static const struct vfio_ops model_ops = { model_read,  model_write, model_readlink, model_names,
                                           model_bytes, model_load,  model_open_by };

struct vfio_sys model_sys(struct model *m) {
        return (struct vfio_sys){ .ops = &model_ops, .data = m };
}

/* --- the machine --- */

static const struct model_driver drivers[] = {
        { "vfio-pci", "vfio_pci", 0, 0, false, true },
        { "pcieport", "", 0x8086, 0x1901, true, true },
        { "nouveau", "nouveau", 0x10de, 0x1b80, true, true },
        { "snd_hda_intel", "snd_hda_intel", 0x10de, 0x10f0, true, true },
        { "nvme", "nvme", 0x144d, 0xa808, true, false },
        { "other", "other", 0x10de, 0x1b80, true, false },
};

static const struct model_device devices[] = {
        { MODEL_CARD, 0x10de, 0x1b80, 0x030000, 7, true, .d3cold = 1, .power = "on", .resets = true,
          .reset = "flr bus", .all_resets = "flr bus" },
        { MODEL_SOUND, 0x10de, 0x10f0, 0x040300, 7, true, .d3cold = 1, .power = "on", .resets = true,
          .reset = "bus", .all_resets = "bus" },
        { MODEL_DRIVE, 0x144d, 0xa808, 0x010802, 8, true, .d3cold = -1, .power = "on" },
        { MODEL_BRIDGE, 0x8086, 0x1901, 0x060400, 7, true, .bridge = true, .d3cold = 1, .power = "on" },
};

void model_init(struct model *m) {
        *m = (struct model){ .n_devices = ARRAY_SIZE(devices),
                             .n_drivers = ARRAY_SIZE(drivers),
                             .vanish_at = -1,
                             .dead_from = -1 };
        memcpy(m->drivers, drivers, sizeof(drivers));
        memcpy(m->devices, devices, sizeof(devices));
        for (size_t i = 0; i < ARRAY_SIZE(m->faults); i++)
                m->faults[i].at = -1;
        for (size_t i = 0; i < m->n_devices; i++)
                offer(m, &m->devices[i]);
}

char *model_text(const struct model *m) {
        _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;

        for (size_t i = 0; i < m->n_devices; i++) {
                const struct model_device *d = &m->devices[i];

                strbuf_addf(&b, "%s %s driver=%s override=%s d3cold=%d power=%s reset=%s\n", d->address,
                            d->there ? "there" : "gone", d->driver ? d->driver->name : "none", d->override,
                            d->d3cold, d->power, d->reset);
        }
        return strbuf_take(&b);
}
