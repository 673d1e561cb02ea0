#!/bin/sh
# Starts Sentinel beside a member of the queue. It writes what it learns into its file, which therefore is on the
# volume: after a restart of all members, they still know who was the primary.
set -eu
umask 077

secrets=/run/secrets/groundwork
hash() { sha256sum "$secrets/$1-password" | cut -d' ' -f1; }
. /etc/groundwork/redis/passwords.sh
. /etc/groundwork/redis/members.sh
primary=$(primary_name)
file=$learned_file
kept=$(grep -E '^sentinel (current-epoch|config-epoch|leader-epoch) ' "$file" 2>/dev/null || true)
id=$(grep '^sentinel myid ' "$file" 2>/dev/null || true)
# Whom it knew of the members that there are: they meet at the primary alone, and of one that does not come back with them they
# could not learn of each other. One that another has replaced at its address (port 0) is not waited for.
known() {
  grep -q "^sentinel monitor queue $primary " "$file" 2>/dev/null || return 0
  for number in $(seq 0 $((MEMBERS - 1))); do
    member="queue ${POD_NAME%-*}-$number.$MEMBERS_DOMAIN"
    grep -E "^sentinel known-(replica $member 6379\$|sentinel $member 26379 )" "$file" || true
  done
}
# Two Sentinels are left when a primary's pod dies, and each may vote for itself: they try again after twice the
# failover-timeout, which must end before the queue has been away for 15 s.
cat >"$file.new" <<END
port 0
tls-port 26379
tls-cert-file $secrets/tls.pem
tls-key-file $secrets/tls.pem
tls-ca-cert-file $secrets/ca.crt
tls-protocols "TLSv1.3"
tls-auth-clients no
tls-replication yes
dir /tmp
logfile ""
user default off
user app on $(app_hashes) -@all +ping +auth +hello +client|setname +client|setinfo +subscribe +info +sentinel|get-master-addr-by-name +sentinel|replicas +sentinel|sentinels +sentinel|master allchannels
user sentinel on #$(hash sentinel) allchannels +@all
sentinel sentinel-user sentinel
sentinel sentinel-pass $(cat "$secrets/sentinel-password")
sentinel resolve-hostnames yes
sentinel announce-hostnames yes
sentinel announce-ip $self
sentinel announce-port 26379
$id
sentinel monitor queue $primary 6379 $((MEMBERS / 2 + 1))
sentinel auth-user queue sentinel
sentinel auth-pass queue $(cat "$secrets/sentinel-password")
sentinel down-after-milliseconds queue 3000
sentinel failover-timeout queue 4000
sentinel parallel-syncs queue 1
$kept
$(known)
END
# Whole or not at all: an empty file would have forgotten who is the primary.
mv "$file.new" "$file"
REDISCLI_AUTH=$(cat "$secrets/sentinel-password") /bin/sh /etc/groundwork/redis/keep.sh 26379 sentinel &
exec redis-sentinel "$file"
