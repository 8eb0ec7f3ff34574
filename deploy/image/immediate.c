/*
 * Lets ucarp hear adverts at once.
 *
 * ucarp opens its device with pcap_open_live() and a timeout of a second: what it hears is given to it
 * up to a second late, which makes intervals below a second unstable and a goodbye late. This library
 * stands in for that one call and asks for immediate mode.
 *
 *   gcc -Wall -Wextra -O2 -fPIC -shared -o /usr/lib/confsync/immediate.so immediate.c
 *
 * confsync preloads /usr/lib/confsync/immediate.so into ucarp, where it is there and `vip.immediate` is
 * set. libpcap's header is not needed: these are its functions since version 1.5.
 */

#include <stdio.h>

typedef struct pcap pcap_t;

pcap_t *pcap_create(const char *device, char *why);
int pcap_set_snaplen(pcap_t *, int);
int pcap_set_promisc(pcap_t *, int);
int pcap_set_timeout(pcap_t *, int);
int pcap_set_immediate_mode(pcap_t *, int);
int pcap_activate(pcap_t *);
char *pcap_geterr(pcap_t *);
void pcap_close(pcap_t *);

#define WHY 256 /* PCAP_ERRBUF_SIZE */

pcap_t *pcap_open_live(const char *device, int length, int promiscuous, int timeout, char *why)
{
	pcap_t *opened = pcap_create(device, why);

	if (opened == NULL)
		return NULL;
	pcap_set_snaplen(opened, length);
	pcap_set_promisc(opened, promiscuous);
	pcap_set_timeout(opened, timeout);
	pcap_set_immediate_mode(opened, 1);
	if (pcap_activate(opened) < 0) {
		snprintf(why, WHY, "%s", pcap_geterr(opened));
		pcap_close(opened);
		return NULL;
	}
	return opened;
}
