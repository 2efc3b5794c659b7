#!/bin/sh
# Started by miniflare in place of workerd, see workerd.ts. In stopping mode it takes the place of the workerd
# that miniflare would start anew, and does nothing.
if [ -e "$TIDEGATE_STOPPING" ]; then cat >/dev/null; exec sleep 30; fi
echo $$ >"$TIDEGATE_WORKERD_PID"
exec "$TIDEGATE_WORKERD" "$@"
