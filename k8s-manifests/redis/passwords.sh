# Read by start.sh, sentinel.sh and keep.sh, with `secrets` set: every password that the app may sign in by, as an ACL has them.
app_hashes() {
  for file in "$secrets"/app-password*; do
    printf '#%s ' "$(sha256sum "$file" | cut -d' ' -f1)"
  done
}
