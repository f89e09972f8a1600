/*
 * The hand on the power switch: mounts, unmounts and cuts off file systems, as it is told on its standard input, one command
 * a line, one answer a line. Small, because a cut must happen within microseconds of the moment it is asked for, and because
 * Node has no ioctl.
 *
 *   attach IMAGE            -> ok /dev/loopN      the device goes away with this process
 *   mount DEVICE DIR FS OPTIONS ("-": none)
 *   unmount DIR
 *   cut DIR [DIR]           loses whatever the disks of these file systems were not told yet; nothing is written any more
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <unistd.h>

/* EXT4_IOC_SHUTDOWN and XFS_IOC_GOINGDOWN are one and the same; 2: not even the log is flushed. */
#define SHUTDOWN _IOR('X', 125, uint32_t)
static uint32_t no_log_flush = 2;

static int attach(const char *image) {
  struct loop_config config;
  char device[64];
  int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
  if (control < 0) return -1;
  /* Somebody else may take the free one first. */
  for (int tries = 0; tries < 50; tries++) {
    int number = ioctl(control, LOOP_CTL_GET_FREE);
    if (number < 0) break;
    snprintf(device, sizeof device, "/dev/loop%d", number);
    int loop = open(device, O_RDWR | O_CLOEXEC);
    int file = open(image, O_RDWR | O_CLOEXEC);
    if (loop < 0 || file < 0) break;
    memset(&config, 0, sizeof config);
    config.fd = file;
    config.info.lo_flags = LO_FLAGS_AUTOCLEAR;
    snprintf((char *)config.info.lo_file_name, LO_NAME_SIZE, "%s", image);
    int configured = ioctl(loop, LOOP_CONFIGURE, &config);
    int why = errno;
    close(file);
    if (configured == 0) {
      /* Left open: with the last one who holds it, the device is free again. */
      close(control);
      printf("ok %s\n", device);
      return 0;
    }
    close(loop);
    errno = why;
    if (why != EBUSY) break;
  }
  close(control);
  return -1;
}

static int cut(const char *first, const char *second) {
  int one = open(first, O_RDONLY | O_CLOEXEC);
  int two = second == NULL ? -1 : open(second, O_RDONLY | O_CLOEXEC);
  int failed = one < 0 || (second != NULL && two < 0);
  if (!failed) failed = ioctl(one, SHUTDOWN, &no_log_flush) != 0;
  if (!failed && two >= 0) failed = ioctl(two, SHUTDOWN, &no_log_flush) != 0;
  int why = errno;
  if (one >= 0) close(one);
  if (two >= 0) close(two);
  errno = why;
  return failed ? -1 : 0;
}

int main(void) {
  char line[4096];
  while (fgets(line, sizeof line, stdin) != NULL) {
    char *word[6] = {0};
    int words = 0;
    for (char *at = strtok(line, " \n"); at != NULL && words < 6; at = strtok(NULL, " \n")) word[words++] = at;
    int result = -1;
    int said = 0;
    errno = EINVAL;
    if (words == 2 && strcmp(word[0], "attach") == 0) {
      result = attach(word[1]);
      said = result == 0;
    } else if (words == 5 && strcmp(word[0], "mount") == 0) {
      result = mount(word[1], word[2], word[3], MS_NOATIME, strcmp(word[4], "-") == 0 ? "" : word[4]);
    } else if (words == 2 && strcmp(word[0], "unmount") == 0) {
      result = umount2(word[1], 0);
    } else if ((words == 2 || words == 3) && strcmp(word[0], "cut") == 0) {
      result = cut(word[1], word[2]);
    }
    if (!said) {
      if (result == 0) printf("ok\n");
      else printf("failed %s\n", strerror(errno));
    }
    fflush(stdout);
  }
  return 0;
}
