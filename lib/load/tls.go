package load

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

// Config is how to speak TLS with an ingress on that host, by HTTP/2 or by HTTP/1.1. A nil t trusts what the system
// trusts.
func (t *TLS) Config(host string, http2 bool) *tls.Config {
	c := &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}
	if http2 {
		c.NextProtos = []string{"h2"}
	}
	if t == nil {
		return c
	}
	if t.ServerName != "" {
		c.ServerName = t.ServerName
	}
	if t.CA != "" {
		c.RootCAs = x509.NewCertPool()
		c.RootCAs.AppendCertsFromPEM([]byte(t.CA)) // Check has looked whether there are any
	}
	c.InsecureSkipVerify = t.Insecure
	return c
}

// Check reports what is wrong with the certificates.
func (t *TLS) Check() error {
	if t == nil || t.CA == "" {
		return nil
	}
	found := 0
	for rest := []byte(t.CA); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return fmt.Errorf("holds a %s, and should hold certificates alone", block.Type)
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			return fmt.Errorf("certificate %d: %w", found+1, err)
		}
		found++
	}
	if found == 0 {
		return errors.New("holds no certificate in PEM, which begins with -----BEGIN CERTIFICATE-----")
	}
	return nil
}
