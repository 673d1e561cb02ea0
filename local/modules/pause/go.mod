module groundwork.local/modules/pause

go 1.26
