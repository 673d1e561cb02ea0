// nginx 1.28.3, in C: the commit of its release, as no tag of it is a version to Go.
module groundwork.local/modules/nginx

go 1.26.5

require github.com/nginx/nginx v0.0.0-20260324183323-9b958b000776
