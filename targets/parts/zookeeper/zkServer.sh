#!/bin/sh
# zkServer.sh start-foreground, as of ZooKeeper's own script.
set -eu
if [ "${1:-}" != start-foreground ]; then
	echo 'usage: zkServer.sh start-foreground' >&2
	exit 2
fi
# Word splitting is wanted of the flags.
exec java -cp "$ZOO_CONF_DIR:/usr/share/java/zookeeper.jar:/usr/share/java/slf4j-log4j12.jar:/usr/share/java/log4j-1.2.jar" \
	-XX:+ExitOnOutOfMemoryError ${SERVER_JVMFLAGS:-} ${JVMFLAGS:-} \
	org.apache.zookeeper.server.quorum.QuorumPeerMain "$ZOO_CONF_DIR/zoo.cfg"
