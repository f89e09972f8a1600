/*
 * The hand on the power switch: mounts, unmounts and cuts off file systems, as it is told on its standard input, one command
 * a line, one answer a line. Small, because a cut must happen within microseconds of the moment it is asked for, and because
 * Node has no ioctl.
 *
 *   attach IMAGE            -> ok /dev/loopN      the device goes away when detached, or with this process
 *   detach DEVICE
 *   mount DEVICE DIR FS OPTIONS ("-": none)
 *   unmount DIR
 *   cut DIR [DIR [DIR]]     shuts these file systems down, one after the other: nothing is written to them any more, and
 *                           whatever they were not told to keep is lost
 *   give FILE NAME HEX                           an extended attribute
 *   given FILE              -> ok NAME=HEX ...   all that it has, in no order
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
#include <sys/xattr.h>
#include <unistd.h>

/* EXT4_IOC_SHUTDOWN and XFS_IOC_GOINGDOWN are one and the same; 2: not even the log is flushed. */
#define SHUTDOWN _IOR('X', 125, uint32_t)
static uint32_t no_log_flush = 2;

/* Each attached device, left open: with the last one who holds it, the device is free again. */
#define DEVICES 16
static struct {
  char path[64];
  int fd;
} attached[DEVICES];

static int attach(const char *image) {
  int slot = 0;
  while (slot < DEVICES && attached[slot].path[0] != 0) slot++;
  if (slot == DEVICES) {
    errno = EMFILE;
    return -1;
  }
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
      close(control);
      snprintf(attached[slot].path, sizeof attached[slot].path, "%s", device);
      attached[slot].fd = loop;
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

static int detach(const char *device) {
  for (int slot = 0; slot < DEVICES; slot++) {
    if (strcmp(attached[slot].path, device) != 0) continue;
    attached[slot].path[0] = 0;
    return close(attached[slot].fd);
  }
  errno = ENODEV;
  return -1;
}

static int cut(char *const dirs[], int count) {
  int fds[3] = {-1, -1, -1};
  int result = 0;
  for (int n = 0; n < count && result == 0; n++) {
    fds[n] = open(dirs[n], O_RDONLY | O_CLOEXEC);
    if (fds[n] < 0) result = -1;
  }
  for (int n = 0; n < count && result == 0; n++) result = ioctl(fds[n], SHUTDOWN, &no_log_flush);
  int why = errno;
  for (int n = 0; n < count; n++)
    if (fds[n] >= 0) close(fds[n]);
  errno = why;
  return result;
}

static int give(const char *file, const char *name, const char *hex) {
  unsigned char value[256];
  size_t size = strlen(hex) / 2;
  for (size_t n = 0; n < size && n < sizeof value; n++) {
    unsigned int byte;
    if (sscanf(hex + 2 * n, "%2x", &byte) != 1) return -1;
    value[n] = byte;
  }
  if (size > sizeof value) return -1;
  return lsetxattr(file, name, value, size, 0);
}

static int given(const char *file) {
  char names[1024];
  unsigned char value[256];
  ssize_t length = llistxattr(file, names, sizeof names);
  if (length < 0) return -1;
  /* All of it first: an answer is one line, and not begun before it is sure to be one. */
  char answer[4096] = "ok";
  size_t end = 2;
  for (ssize_t at = 0; at < length; at += strlen(names + at) + 1) {
    ssize_t size = lgetxattr(file, names + at, value, sizeof value);
    if (size < 0 || end + strlen(names + at) + 2 * size + 3 > sizeof answer) return -1;
    end += sprintf(answer + end, " %s=", names + at);
    for (ssize_t n = 0; n < size; n++) end += sprintf(answer + end, "%02x", value[n]);
  }
  printf("%s\n", answer);
  return 0;
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
    } else if (words == 2 && strcmp(word[0], "detach") == 0) {
      result = detach(word[1]);
    } else if (words == 4 && strcmp(word[0], "give") == 0) {
      result = give(word[1], word[2], word[3]);
    } else if (words == 2 && strcmp(word[0], "given") == 0) {
      result = given(word[1]);
      said = result == 0;
    } else if (words >= 2 && words <= 4 && strcmp(word[0], "cut") == 0) {
      result = cut(word + 1, words - 1);
    }
    if (!said) {
      if (result == 0) printf("ok\n");
      else printf("failed %s\n", strerror(errno));
    }
    fflush(stdout);
  }
  return 0;
}
