/* org.varlink.service: what every Varlink server answers about itself. */
#include "rpc/connection.h"

#include "base/str.h"

static void get_info(struct rpc_call *call, const json_t *params, void *data) {
        const struct rpc_server *s = data;
        json_t *info = json_object(), *interfaces = json_array();

        json_put_str(info, "vendor", s->identity->vendor);
        json_put_str(info, "product", s->identity->product);
        json_put_str(info, "version", s->identity->version);
        json_put_str(info, "url", s->identity->url);
        for (size_t i = 0; i < ARRAY_SIZE(s->bound); i++)
                json_push_str(interfaces, s->bound[i].interface->name);
        json_put(info, "interfaces", interfaces);
        rpc_reply(call, info);
}

static void get_interface_description(struct rpc_call *call, const json_t *params, void *data) {
        const struct rpc_server *s = data;
        const char *name = json_get_str(params, "interface", "");
        json_t *answer = json_object();

        for (size_t i = 0; i < ARRAY_SIZE(s->bound); i++)
                if (str_eq(s->bound[i].interface->name, name)) {
                        json_put_str(answer, "description", s->bound[i].interface->description);
                        rpc_reply(call, answer);
                        return;
                }
        json_put_str(answer, "interface", name);
        rpc_fail(call, "org.varlink.service.InterfaceNotFound", answer);
}

static const struct rpc_method methods[] = {
        { "org.varlink.service.GetInfo", get_info },
        { "org.varlink.service.GetInterfaceDescription", get_interface_description },
};

const struct rpc_interface rpc_service = {
        .name = "org.varlink.service",
        .description = "# What every Varlink service says about itself.\n"
                       "interface org.varlink.service\n"
                       "\n"
                       "method GetInfo() -> (vendor: string, product: string, version: string, url: string,\n"
                       "  interfaces: []string)\n"
                       "method GetInterfaceDescription(interface: string) -> (description: string)\n"
                       "\n"
                       "error InterfaceNotFound (interface: string)\n"
                       "error MethodNotFound (method: string)\n"
                       "error MethodNotImplemented (method: string)\n"
                       "error InvalidParameter (parameter: string)\n"
                       "error PermissionDenied ()\n"
                       "error ExpectedMore ()\n",
        .methods = methods,
        .n_methods = ARRAY_SIZE(methods),
};
