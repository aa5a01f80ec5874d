# Read by the scripts beside it. The replicas of a service share one command; by its address this one finds out which of
# NODES (names between commas) it is. Sets self, its name; number, from 1; address; first, the first name; and count.
: "${NODES:?names of the members, between commas}"

address() { getent hosts "$1" | awk '{print $1; exit}'; }

first=${NODES%%,*}
count=$(echo "$NODES" | tr ',' ' ' | wc -w)
self=
tries=0
while [ -z "$self" ]; do
	number=0
	for name in $(echo "$NODES" | tr ',' ' '); do
		number=$((number + 1))
		address=$(address "$name")
		case " $(hostname -i) " in
		*" ${address:-none} "*)
			self=$name
			break
			;;
		esac
	done
	tries=$((tries + 1))
	if [ -z "$self" ] && [ "$tries" -ge 50 ]; then
		echo "none of $NODES is $(hostname -i)" >&2
		exit 1
	fi
	[ -n "$self" ] || sleep 0.2
done
