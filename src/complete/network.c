#include "complete/fill.h"

/* One card that every guest has a driver for. */
void fill_network(struct fill *f) {
        struct def_network *n;

        if (f->def->n_network > 0)
                return;
        n = def_add_network(f->def);
        n->type = "user";
        n->model = "e1000e";
        DEF_MARK(n, type, ORIGIN_DEFAULT, NULL);
        DEF_MARK(n, model, ORIGIN_DEFAULT, NULL);
}
