#include "rpc/idl.h"
#include "rpc/server.h"

#include "base/str.h"

#include <errno.h>

static void cleanup_idlp(struct idl **idl) {
        idl_free(*idl);
}

/* What comes behind "<interface>." in a row's name; NULL: it begins otherwise. */
static const char *short_name(const struct rpc_interface *interface, const char *name) {
        size_t n = strlen(interface->name);

        return str_starts(name, interface->name) && name[n] == '.' ? name + n + 1 : NULL;
}

static size_t count_rows(const struct rpc_interface *interface, const char *method) {
        size_t n = 0;

        for (size_t i = 0; i < interface->n_methods; i++)
                n += str_eq(short_name(interface, interface->methods[i].name), method);
        return n;
}

int rpc_interface_check(const struct rpc_interface *interface, struct error *err) {
        _cleanup_(cleanup_idlp) struct idl *idl = NULL;
        int r = idl_parse(interface->description, &idl, err);

        if (r < 0)
                return error_prefix(err, "%s", interface->name), r;
        if (!str_eq(idl->name, interface->name))
                return error_set(err, -EINVAL, "the interface is %s, but its description says %s",
                                 interface->name, idl->name);
        for (size_t i = 0; i < interface->n_methods; i++) {
                const char *name = short_name(interface, interface->methods[i].name);

                if (!name || !idl_find(idl, IDL_METHOD, name))
                        return error_set(err, -EINVAL, "%s has a row, but is not described",
                                         interface->methods[i].name);
        }
        for (size_t i = 0; i < idl->n_members; i++) {
                const struct idl_member *m = &idl->members[i];
                size_t n = m->role == IDL_METHOD ? count_rows(interface, m->name) : 1;

                if (n != 1)
                        return error_set(err, -EINVAL, "%s.%s is described, but has %s", idl->name, m->name,
                                         n == 0 ? "no row" : "several rows");
        }
        return 0;
}
