# Included by CMake at the beginning of llama-cpp-python's build (CMAKE_PROJECT_INCLUDE in the Makefile).
# The package builds llama.cpp's library for its own tools ("common") and installs it, but Python never loads it: leave
# it out, which is a third of the build. A normal variable takes precedence over the cache entry that the package forces.
set(LLAMA_BUILD_COMMON OFF)
