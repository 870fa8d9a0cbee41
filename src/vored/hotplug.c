/* Attach and Detach: devices that come and go while a machine runs. */
#include "vored/manager.h"

#include "base/str.h"

#include <ctype.h>
#include <math.h>

/* "046d:c52b", "001:004": that many digits on both sides of the colon. */
static bool is_pair(const char *text, size_t digits, const char *allowed) {
        return strlen(text) == 2 * digits + 1 && strspn(text, allowed) == digits && text[digits] == ':' &&
               strspn(text + digits + 1, allowed) == digits;
}

/* "1-2.3": bus, then the port behind each hub. */
static bool is_usb_port(const char *text) {
        size_t n = strspn(text, "0123456789");

        return n > 0 && text[n] == '-' && isdigit((unsigned char) text[n + 1]) &&
               !text[n + 1 + strspn(text + n + 1, "0123456789.")];
}

static bool is_usb(const char *text) {
        return is_pair(text, 4, "0123456789abcdefABCDEF") || is_pair(text, 3, "0123456789") ||
               is_usb_port(text);
}

static void refuse(struct rpc_call *call, const char *fmt, const char *text) {
        _cleanup_free_ char *shown = xasprintf("%.64s", text), *message = NULL;

        message = xasprintf("%s%s", shown, fmt);
        rpc_fail(call, "Failed", json_pack("{s:o}", "message", json_string_lossy(message)));
}

/* The PCI address that params name, in full; NULL: the call is answered. */
static const char *wanted_address(struct rpc_call *call, const json_t *params, struct arena *arena) {
        const char *text = json_get_str(params, "address", ""), *address = def_pci_address(arena, text);

        if (!address && is_usb(text)) {
                _cleanup_free_ char *what = xasprintf("hot-plug of USB devices, such as %.64s,", text);
                method_not_supported(call, what);
        } else if (!address)
                refuse(call, " is no address of a device, such as 0b:00.3 (vore devices lists them)", text);
        return address;
}

void method_attach(struct rpc_call *call, const json_t *params, void *manager) {
        _cleanup_arena_ struct arena *arena = arena_new();
        struct vm *vm = method_vm(manager, call, params);
        const char *address = vm ? wanted_address(call, params, arena) : NULL;
        struct vm_attach_options options = { .force = json_get_bool(params, "force", false),
                                             .group = json_get_bool(params, "group", false) };

        if (!address)
                return;
        if (json_get_bool(params, "keep", false)) {
                refuse(call,
                       " is a PCI device: --keep is for USB devices, which go and come back by themselves",
                       address);
                return;
        }
        struct vm_watch watch = method_watch(manager, call, 0);
        vm_attach(vm, address, &options, &watch);
}

void method_detach(struct rpc_call *call, const json_t *params, void *manager) {
        _cleanup_arena_ struct arena *arena = arena_new();
        struct vm *vm = method_vm(manager, call, params);
        const char *address = vm ? wanted_address(call, params, arena) : NULL;
        const json_t *timeout = json_object_get(params, "timeout");
        double seconds = json_is_number(timeout) ? json_number_value(timeout) : 60;

        if (!address)
                return;
        if (!(seconds >= 0 && seconds <= 86400)) {
                rpc_fail_parameter(call, "timeout");
                return;
        }
        struct vm_watch watch = method_watch(manager, call, seconds);
        vm_detach(vm, address, (uint64_t) (seconds * 1e6), &watch);
}
