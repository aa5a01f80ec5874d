// Package tutti proves whether more nodes really mean more uptime.
package tutti
