"""What Modal's image builder makes of a Dockerfile, as far as that can be told without building.

`python -m emulators.modal_builder Dockerfile` checks one; the emulator of Modal ends its builds by the same rules.

Grounds of the rules, none of which could be tried on the real builder:
- modal 1.6.4's client, run and read: it reads the sources of COPY, refuses those that it does not understand, and
  uploads nothing else, so that whatever else looks for the build context finds nothing.
- Modal's guide to existing images: what the builder does not implement, and that the ENTRYPOINT is run with Modal's own
  command as its arguments.
- Second hand, from people who built there: EXPOSE, HEALTHCHECK and LABEL are not implemented either, USER is ignored,
  ADD takes one URL.
"""
