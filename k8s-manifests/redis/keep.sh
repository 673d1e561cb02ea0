#!/bin/sh
# Beside Redis or a Sentinel: keep.sh PORT USER, that user's password in REDISCLI_AUTH, brings to the running server what has
# changed in its mounted secrets, within seconds: by what passwords the app may sign in, and the certificate.
secrets=/run/secrets/groundwork
. /etc/groundwork/redis/passwords.sh
# In the own pod, and whatever the certificate: one that has ended is to be replaced, too.
cli() { redis-cli --tls --insecure --no-auth-warning --user "$user" -p "$port" "$@"; }
ask() { [ "$(cli "$@")" = OK ]; }

port=$1
user=$2
# Passwords may have changed while the server started; a certificate then was read by it, or is seen to differ.
passwords=
certificate=$(sha256sum <"$secrets/tls.pem")
while sleep 5; do
  mounted=$(app_hashes)
  # Unquoted: each hash is a word of its own. Who is signed in stays.
  [ "$mounted" = "$passwords" ] ||
    { ask acl setuser app resetpass $mounted && passwords=$mounted && echo "the passwords are those that are mounted"; }

  mounted=$(sha256sum <"$secrets/tls.pem")
  [ "$mounted" = "$certificate" ] && continue
  if [ "$port" = 6379 ]; then
    file=$secrets/tls.pem
    ask config set tls-cert-file "$file" tls-key-file "$file" && certificate=$mounted && echo "the certificate is a new one"
  else
    # A Sentinel reads it at start only. One after the other, so that the others go on watching.
    sleep $((${POD_NAME##*-} * 30))
    cli shutdown
  fi
done
