/* The devices that came while the machine ran. */
#include "vm/machine.h"

#include "base/str.h"

struct vm_attached *attached_find(const struct vm *vm, const char *address) {
        for (size_t i = 0; i < vm->n_attached; i++)
                if (str_eq(vm->attached[i].address, address))
                        return &vm->attached[i];
        return NULL;
}

unsigned attached_next_unit(const struct vm *vm) {
        unsigned last = 0;

        for (size_t i = 0; i < vm->n_attached; i++)
                last = MAX(last, vm->attached[i].unit);
        return last + 1;
}

struct vm_attached *attached_add(struct vm *vm, const struct vm_attached *device) {
        vm->attached = xrealloc(vm->attached, vm->n_attached + 1, sizeof(*vm->attached));
        vm->attached[vm->n_attached] = *device;
        return &vm->attached[vm->n_attached++];
}

void attached_remove(struct vm *vm, unsigned unit) {
        size_t n = 0;

        for (size_t i = 0; i < vm->n_attached; i++)
                if (vm->attached[i].unit != unit)
                        vm->attached[n++] = vm->attached[i];
        vm->n_attached = n;
}

size_t attached_there(const struct vm *vm, unsigned unit) {
        size_t n = 0;

        for (size_t i = 0; i < vm->n_attached; i++)
                n += vm->attached[i].unit == unit && vm->attached[i].there;
        return n;
}

size_t attached_count(const struct vm *vm, unsigned unit) {
        size_t n = 0;

        for (size_t i = 0; i < vm->n_attached; i++)
                n += vm->attached[i].unit == unit;
        return n;
}

void attached_set_complete(struct vm *vm, unsigned unit) {
        for (size_t i = 0; i < vm->n_attached; i++)
                vm->attached[i].complete |= vm->attached[i].unit == unit;
        record_update(vm);
}

json_t *attached_addresses(const struct vm *vm, unsigned unit) {
        json_t *array = json_array();

        for (size_t i = 0; i < vm->n_attached; i++)
                if (vm->attached[i].unit == unit)
                        json_push_str(array, vm->attached[i].address);
        return array;
}

char *attached_words(const struct vm *vm, unsigned unit) {
        struct strbuf b = STRBUF_INIT;

        for (size_t i = 0; i < vm->n_attached; i++)
                if (vm->attached[i].unit == unit)
                        strbuf_addf(&b, "%s%s", b.len ? ", " : "", vm->attached[i].address);
        return strbuf_take(&b);
}

void attached_id(const struct vm_attached *device, char ret[static ATTACHED_ID_MAX]) {
        snprintf(ret, ATTACHED_ID_MAX, "attached-%s", device->address);
        for (char *at = ret; (at = strchr(at, ':')); at++)
                *at = '-'; /* a colon is no letter of an id */
}

json_t *attached_to_json(const struct vm *vm) {
        json_t *array = json_array();

        for (size_t i = 0; i < vm->n_attached; i++) {
                const struct vm_attached *a = &vm->attached[i];

                json_push(array,
                          json_pack("{s:s, s:i, s:i, s:b, s:s, s:i, s:b}", "address", a->address, "group",
                                    a->iommu_group, "unit", (int) a->unit, "complete", a->complete, "port",
                                    a->port, "function", a->function, "multifunction", a->multifunction));
        }
        return array;
}

void attached_from_json(struct vm *vm, const json_t *array) {
        size_t i;
        json_t *item;

        json_array_foreach (array, i, item) {
                struct vm_attached a = {
                        .iommu_group = (int) json_get_int(item, "group", -1),
                        .unit = (unsigned) json_get_int(item, "unit", 1),
                        .complete = json_get_bool(item, "complete", false),
                        .function = (int) json_get_int(item, "function", 0),
                        .multifunction = json_get_bool(item, "multifunction", false),
                };

                snprintf(a.address, sizeof(a.address), "%s", json_get_str(item, "address", ""));
                snprintf(a.port, sizeof(a.port), "%s", json_get_str(item, "port", ""));
                (void) attached_add(vm, &a);
        }
}

void attached_compare(struct vm *vm, const json_t *reply) {
        vm->attached_known = true;
        for (size_t i = 0; i < vm->n_attached; i++) {
                char id[ATTACHED_ID_MAX];

                attached_id(&vm->attached[i], id);
                vm->attached[i].there = json_has_named(reply, id);
        }
}

void vm_request_attached(const struct vm *vm, struct plan_request *req) {
        struct plan_attached *list = xcalloc(vm->n_attached + 1, sizeof(*list));

        req->attached = list;
        for (size_t i = 0; i < vm->n_attached; i++)
                if (vm->attached[i].complete)
                        list[req->n_attached++].address = vm->attached[i].address;
}

void vm_request_attached_done(struct plan_request *req) {
        free((void *) req->attached);
}
