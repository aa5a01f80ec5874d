#!/bin/sh
# ZooKeeper's own shell: zkCli.sh [-server HOST:PORT] [COMMAND…]
set -eu
# Word splitting is wanted of the flags.
exec java -cp "/usr/share/java/zookeeper.jar:/usr/share/java/slf4j-nop.jar:/usr/share/java/commons-cli.jar" \
	-XX:TieredStopAtLevel=1 ${CLIENT_JVMFLAGS:-} ${JVMFLAGS:-} org.apache.zookeeper.ZooKeeperMain "$@"
