/* Devices: the host's PCI devices, who holds them, and whether a VM can have them. */
#include "vored/reserve.h"

#include "base/str.h"
#include "plan/devices.h"
#include "vfio/holders.h"
#include "vfio/stuck.h"
#include "work/work.h"

enum { DEADLINE_MS = 15000 };

struct devices_request {
        const char *runtime_dir; /* of the list of stuck devices */
        const struct complete_device *uses;
        size_t n_uses;
        const json_t *reserved; /* as reserve_to_json() gives it */
        const json_t *notes;    /* what is to be said about reservations */
};

static const char *stuck_of(const json_t *stuck, const json_t *device) {
        return json_get_str(stuck, json_get_str(device, "address", ""), NULL);
}

/* A bridge is nobody's to hold; a device that hangs would take along whoever looks closer. */
static bool worth_asking(const json_t *stuck, const json_t *device) {
        return json_get_int(device, "class", 0) >> 16 != 0x06 && !stuck_of(stuck, device);
}

/* The devices that a worker did not come back from. A list that cannot be read is told, and counts as empty.
 */
static json_t *find_stuck(const char *dir, json_t *notes) {
        _cleanup_error_ struct error err = ERROR_INIT;
        json_t *stuck = NULL;

        if (vfio_stuck_list(dir, &stuck, &err) >= 0)
                return stuck;
        json_push(notes, json_string_lossy(error_text(&err)));
        return json_object();
}

static void add_stuck(json_t *devices, const json_t *stuck) {
        json_t *device;
        size_t i;

        json_array_foreach (devices, i, device) {
                const char *sentence = stuck_of(stuck, device);
                _cleanup_free_ char *verdict = sentence ? xasprintf("stuck: %s", sentence) : NULL;

                if (verdict)
                        json_put_str(device, "verdict", verdict);
        }
}

static void add_reserved(json_t *devices, const json_t *reserved) {
        json_t *device, *row;
        size_t i, k;

        json_array_foreach (devices, i, device) {
                json_put(device, "reserved_by", json_array());
                json_array_foreach ((json_t *) reserved, k, row) {
                        if (!str_eq(json_get_str(row, "address", ""), json_get_str(device, "address", "-")))
                                continue;
                        json_put(device, "reserved_by", json_incref(json_object_get(row, "vms")));
                        json_put(device, "reservation", json_incref(json_object_get(row, "state")));
                }
        }
}

static int add_holders(json_t *devices, const json_t *stuck, int report_fd, struct error *err) {
        size_t n = json_array_size(devices), i;
        _cleanup_free_ const char **addresses = xcalloc(n + 1, sizeof(*addresses));
        struct vfio_holders_job job = { .addresses = addresses };
        _cleanup_json_ json_t *found = NULL;
        json_t *device;

        json_array_foreach (devices, i, device)
                if (worth_asking(stuck, device))
                        addresses[job.n++] = json_get_str(device, "address", "");
        int r = vfio_holders_work(&job, report_fd, &found, err);
        if (r < 0)
                return r;
        json_array_foreach (devices, i, device) {
                json_t *holders = json_object_get(found, json_get_str(device, "address", ""));

                if (holders)
                        json_put(device, "holders", json_incref(holders));
        }
        return 0;
}

static int devices_work(void *request, int report_fd, json_t **ret, struct error *err) {
        const struct devices_request *req = request;
        _cleanup_json_ json_t *devices = NULL, *notes = NULL, *stuck = NULL;
        _cleanup_host_ struct host *host = NULL;
        int r = host_open(NULL, &host, err);

        if (r >= 0)
                r = plan_devices(host, req->uses, req->n_uses, &devices, &notes, err);
        if (r >= 0) {
                stuck = find_stuck(req->runtime_dir, notes);
                add_stuck(devices, stuck);
                add_reserved(devices, req->reserved);
                json_array_extend(notes, (json_t *) req->notes);
                r = add_holders(devices, stuck, report_fd, err);
        }
        if (r >= 0)
                *ret = json_pack("{s:O, s:O}", "devices", devices, "notes", notes);
        return r;
}

static void devices_known(const json_t *result, const struct error *err, pid_t stuck, void *data) {
        if (result)
                rpc_reply(data, json_incref((json_t *) result));
        else
                method_fail(data, err);
}

void method_devices(struct rpc_call *call, const json_t *params, void *manager) {
        struct manager *m = manager;
        _cleanup_uses_ struct vm_uses uses = { 0 };
        _cleanup_error_ struct error err = ERROR_INIT;
        struct work *work;

        if (json_get_bool(params, "usb", false)) {
                method_not_supported(call, "usb");
                return;
        }
        if (!rpc_turn(call, params))
                return;
        machines_uses(NULL, &uses, m);
        _cleanup_json_ json_t *reserved = reserve_to_json(m, NULL), *notes = reserve_notes(m, NULL),
                              *rules = boot_rules_notes(m);
        json_array_extend(notes, rules);
        struct devices_request req = { m->settings->vore.runtime_dir, uses.devices, uses.n_devices, reserved,
                                       notes };
        if (work_start(m->loop, "the devices", DEADLINE_MS, devices_work, &req, devices_known, call, &work,
                       &err) < 0)
                method_fail(call, &err);
}
