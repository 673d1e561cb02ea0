# Read by start.sh and sentinel.sh, with `secrets` set: the names of the members, and which of them is the primary.
self=$POD_NAME.$MEMBERS_DOMAIN
first=${POD_NAME%-*}-0.$MEMBERS_DOMAIN
learned_file=/var/lib/redis/sentinel.conf

# What the running Sentinels say; else what this member's own learned before it stopped; else the first member.
primary_name() {
  REDISCLI_AUTH=$(cat "$secrets/sentinel-password")
  export REDISCLI_AUTH
  for _ in 1 2 3; do
    for number in $(seq 0 $((MEMBERS - 1))); do
      answer=$(timeout 1 redis-cli --tls --cacert "$secrets/ca.crt" --user sentinel --no-auth-warning -p 26379 \
        -h "${POD_NAME%-*}-$number.$MEMBERS_DOMAIN" sentinel get-master-addr-by-name queue 2>/dev/null | head -n 1) || true
      case $answer in *."$MEMBERS_DOMAIN") echo "$answer" && return ;; esac
    done
    sleep 1
  done
  learned=$(sed -n 's/^sentinel monitor queue \([^ ]*\) .*/\1/p' "$learned_file" 2>/dev/null || true)
  echo "${learned:-$first}"
}
