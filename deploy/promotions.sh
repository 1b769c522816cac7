#!/bin/sh
# One round of learning from planners' decisions: pull, fine-tune, gate, register, shadow. Run it once a week from cron
#
#     15 3 * * 1  orpr  PATH=/opt/orpr/bin:/usr/bin:/bin ORPR_URL=... ORPR_API_KEY=... ORPR_DATA=... ORPR_BUNDLES=... /opt/orpr/deploy/promotions.sh
#
# in /etc/cron.d/orpr (in `crontab -e` without the user orpr), or from deploy/promotions.yaml. It stops at
# the first step that fails; what the gate refuses is not registered, and what is registered decides nothing until somebody gives it a canary or promotes it.
# A round that was killed, by a signal or with its machine, goes on where it stood when it is started again within two days.
#
# ORPR_URL      where the service listens
# ORPR_API_KEY  a key with the scopes planner and ops
# ORPR_DATA     folder of the canonical dataset, brought up to date by the nightly import
# ORPR_BUNDLES  folder of bundles that the service reads too
# ORPR_SINCE    first order day to learn from, YYYY-MM-DD; all where it is not set, or the newest 20,000, which is what a file holds
# ORPR_RECIPE   a recipe of your own; the shipped one where it is not set
# ORPR_DL       a policy before any reinforcement, for a row of the gate's report; none where it is not set
set -eu
: "${ORPR_URL:?}" "${ORPR_API_KEY:?}" "${ORPR_DATA:?}" "${ORPR_BUNDLES:?}"
export ORPR_URL ORPR_API_KEY
round="$ORPR_BUNDLES/.round" # the name is no version, so the service passes it over
labels="$round/labels.parquet"
mkdir -p "$ORPR_BUNDLES"
exec 9>"$round.lock" # held by whatever is started here too, as long as it runs
flock --nonblock 9 || { echo "another round is running" >&2; exit 1; }

champion=$(orpr policy serving)
if [ -d "$ORPR_BUNDLES/$champion" ]; then champion="$ORPR_BUNDLES/$champion"; fi
if [ -z "$(find "$round/version" -mtime -2 2>/dev/null)" ]; then
    rm -rf "$round"
    mkdir "$round"
    orpr overrides pull --newest --out "$labels" ${ORPR_SINCE:+--from "$ORPR_SINCE"}
    echo "promotions-$(date -u +%Y%m%d-%H%M%S)" >"$round/version"
fi
version=$(cat "$round/version")
if [ ! -f "$ORPR_BUNDLES/$version/manifest.json" ]; then
    status=0 # what a signal ended has one above 128, and goes on from its checkpoint; what ended by itself would end so again
    orpr finetune --from "$champion" --overrides "$labels" --data "$ORPR_DATA" --out "$ORPR_BUNDLES/$version" ${ORPR_RECIPE:+--config "$ORPR_RECIPE"} ${ORPR_DL:+--dl "$ORPR_DL"} || status=$?
    if [ "$status" -gt 0 ] && [ "$status" -le 128 ]; then rm -rf "$round"; fi
    if [ "$status" -gt 0 ]; then exit "$status"; fi
fi
orpr policy register "$version"
orpr policy shadow "$version" --reason "fine-tuned on planners' decisions"
rm -rf "$round"
